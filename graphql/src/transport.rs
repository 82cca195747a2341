//! GraphQL over HTTP as a table: what is accepted, what a request says, which status an answer
//! has. Nothing here touches a socket.

use axum::http::header::{CONTENT_ENCODING, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::execute::{Outcome, Question};

/// The media type of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Media {
    /// `application/json`: the status says only whether there is an answer.
    Json,
    /// `application/graphql-response+json`: the status says what became of the document.
    GraphqlResponse,
}

impl Media {
    /// The value of Content-Type.
    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json; charset=utf-8",
            Self::GraphqlResponse => "application/graphql-response+json; charset=utf-8",
        }
    }
}

/// A strong tag: the bytes. What is compressed on its way has [`PACKED`] added, because its bytes
/// are others.
pub(crate) fn etag(body: &[u8]) -> HeaderValue {
    let digest = Sha256::digest(body);
    let tag = format!("\"{}\"", alloy_primitives::hex::encode(&digest[..16]));
    // Hexadecimal digits are always a header value.
    HeaderValue::try_from(tag).unwrap_or(HeaderValue::from_static("\"\""))
}

/// The end of the tag of a compressed answer.
const PACKED: &str = "-gzip\"";

/// Gives a compressed answer a tag of its own.
pub(crate) fn tag_packed<B>(mut response: Response<B>) -> Response<B> {
    let headers = response.headers_mut();
    if headers.contains_key(CONTENT_ENCODING)
        && let Some(tag) = headers.get(ETAG).and_then(|tag| tag.to_str().ok())
        && let Some(open) = tag.strip_suffix('"').filter(|_| !tag.ends_with(PACKED))
        && let Ok(packed) = HeaderValue::try_from(format!("{open}{PACKED}"))
    {
        headers.insert(ETAG, packed);
    }
    response
}

/// The client's own tag of what it has already, if it is the one of what it asks for.
pub(crate) fn known(asked: &HeaderMap, tag: &HeaderValue) -> Option<HeaderValue> {
    let wanted = tag.to_str().ok()?;
    let lists = asked.get_all(IF_NONE_MATCH).iter().filter_map(|list| list.to_str().ok());
    let mut tags = lists.flat_map(|list| list.split(',')).map(str::trim);
    let found = tags.find_map(|one| {
        let strong = one.strip_prefix("W/").unwrap_or(one);
        let plain = strong.strip_suffix(PACKED).map(|open| format!("{open}\""));
        match (plain.as_deref().unwrap_or(strong) == wanted, one) {
            (true, _) => Some(strong),
            (false, "*") => Some(wanted),
            (false, _) => None,
        }
    });
    HeaderValue::try_from(found?).ok()
}

/// What a client would like to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// An answer.
    Answer(Media),
    /// A page to ask from: a browser.
    Html,
    /// Nothing that is made here.
    Nothing,
}

/// Reads an Accept header: the media type with the highest weight wins, the first of equals.
/// Without a header an answer is JSON.
pub(crate) fn negotiate(accept: Option<&str>) -> Wanted {
    let Some(accept) = accept else { return Wanted::Answer(Media::Json) };
    let mut best = (0.0_f32, Wanted::Nothing);
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let weight = parts
            .find_map(|parameter| parameter.strip_prefix("q="))
            .map_or(1.0, |weight| weight.parse().unwrap_or(0.0));
        let wanted = match name.as_str() {
            "application/graphql-response+json" => Wanted::Answer(Media::GraphqlResponse),
            "application/json" | "application/*" | "*/*" => Wanted::Answer(Media::Json),
            "text/html" => Wanted::Html,
            _ => continue,
        };
        if weight > best.0 {
            best = (weight, wanted);
        }
    }
    best.1
}

/// The status of an answer.
pub(crate) fn status(outcome: Outcome, media: Media) -> StatusCode {
    match (outcome, media) {
        (Outcome::Run, _) | (Outcome::Refused, Media::Json) => StatusCode::OK,
        (Outcome::Refused, Media::GraphqlResponse) => StatusCode::BAD_REQUEST,
        (Outcome::NotAQuery, Media::Json) => StatusCode::OK,
        (Outcome::NotAQuery, Media::GraphqlResponse) => StatusCode::BAD_REQUEST,
        (Outcome::Unavailable, _) => StatusCode::SERVICE_UNAVAILABLE,
        (Outcome::TimedOut, _) => StatusCode::GATEWAY_TIMEOUT,
    }
}

/// Why a request is not a GraphQL request at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    /// The content type is not JSON in UTF-8.
    #[error("send application/json in UTF-8")]
    ContentType,
    /// The body is not JSON.
    #[error("the body is not a JSON object")]
    Body,
    /// A batch: one request, one document.
    #[error("batches are not taken: send one request at a time")]
    Batch,
    /// There is no document.
    #[error("the parameter query is missing")]
    NoQuery,
    /// A parameter is not what it should be.
    #[error("the parameter {0} is not {1}")]
    Parameter(&'static str, &'static str),
}

impl Malformed {
    /// The status of the refusal.
    pub(crate) const fn status(&self) -> StatusCode {
        match self {
            Self::ContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// Whether a body of this content type can be read.
pub(crate) fn check_content_type(content_type: Option<&str>) -> Result<(), Malformed> {
    let mut parts = content_type.unwrap_or_default().split(';').map(str::trim);
    let is_json = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("application/json"));
    let is_utf8 = parts.all(|parameter| match parameter.split_once('=') {
        Some((name, value)) if name.eq_ignore_ascii_case("charset") => {
            value.trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    });
    if is_json && is_utf8 { Ok(()) } else { Err(Malformed::ContentType) }
}

/// Reads the body of a POST.
pub(crate) fn question_of_body(body: &[u8]) -> Result<Question, Malformed> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(parameters)) => question(parameters),
        Ok(Value::Array(_)) => Err(Malformed::Batch),
        _ => Err(Malformed::Body),
    }
}

/// Reads the parameters of a GET: `variables` and `extensions` are JSON in a string.
pub(crate) fn question_of_url(pairs: Vec<(String, String)>) -> Result<Question, Malformed> {
    let mut parameters = Map::new();
    for (name, text) in pairs {
        let value = match name.as_str() {
            "variables" => json_of(&text).ok_or(Malformed::Parameter("variables", "JSON"))?,
            "extensions" => json_of(&text).ok_or(Malformed::Parameter("extensions", "JSON"))?,
            _ => Value::String(text),
        };
        parameters.insert(name, value);
    }
    question(parameters)
}

fn json_of(text: &str) -> Option<Value> {
    if text.is_empty() { Some(Value::Null) } else { serde_json::from_str(text).ok() }
}

fn question(mut parameters: Map<String, Value>) -> Result<Question, Malformed> {
    let extensions = match parameters.remove("extensions") {
        Some(Value::Object(extensions)) => extensions,
        Some(Value::Null) | None => Map::new(),
        Some(_) => return Err(Malformed::Parameter("extensions", "an object")),
    };
    let document_id = match parameters.remove("documentId") {
        Some(Value::String(id)) => Some(id),
        Some(Value::Null) | None => {
            let named = extensions.get("persistedQuery").map(|named| &named["sha256Hash"]);
            named.and_then(Value::as_str).map(str::to_owned)
        }
        Some(_) => return Err(Malformed::Parameter("documentId", "a string")),
    };
    let query = match parameters.remove("query") {
        Some(Value::String(query)) => query,
        Some(Value::Null) | None if document_id.is_some() => String::new(),
        Some(Value::Null) | None => return Err(Malformed::NoQuery),
        Some(_) => return Err(Malformed::Parameter("query", "a string")),
    };
    let operation_name = match parameters.remove("operationName") {
        Some(Value::String(name)) if !name.is_empty() => Some(name),
        Some(Value::String(_) | Value::Null) | None => None,
        Some(_) => return Err(Malformed::Parameter("operationName", "a string")),
    };
    let variables = match parameters.remove("variables") {
        Some(Value::Object(variables)) => variables,
        Some(Value::Null) | None => Map::new(),
        Some(_) => return Err(Malformed::Parameter("variables", "an object")),
    };
    Ok(Question { query, document_id, operation_name, variables })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_its_status() {
        for (outcome, json, graphql) in [
            (Outcome::Run, 200, 200),
            (Outcome::Refused, 200, 400),
            (Outcome::NotAQuery, 200, 400),
            (Outcome::Unavailable, 503, 503),
            (Outcome::TimedOut, 504, 504),
        ] {
            assert_eq!(status(outcome, Media::Json), json, "{outcome:?}");
            assert_eq!(status(outcome, Media::GraphqlResponse), graphql, "{outcome:?}");
        }
    }

    #[test]
    fn every_accept_header_has_its_answer() {
        let graphql = Wanted::Answer(Media::GraphqlResponse);
        let json = Wanted::Answer(Media::Json);
        for (accept, wanted) in [
            ("application/json", json),
            ("application/graphql-response+json", graphql),
            ("application/graphql-response+json; charset=utf-8", graphql),
            ("application/graphql-response+json, application/json;q=0.9", graphql),
            ("application/json;q=0.5, application/graphql-response+json", graphql),
            ("*/*", json),
            ("application/*", json),
            // What Grafana's Infinity sends, and what browsers send.
            ("application/json;q=0.9,text/plain", json),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Wanted::Html),
            ("image/png", Wanted::Nothing),
            ("application/json;q=0", Wanted::Nothing),
        ] {
            assert_eq!(negotiate(Some(accept)), wanted, "{accept}");
        }
        assert_eq!(negotiate(None), json);
    }

    #[test]
    fn only_json_in_utf8_is_read() {
        for (content_type, is_read) in [
            ("application/json", true),
            ("Application/JSON; Charset=\"UTF-8\"", true),
            ("application/json; charset=latin1", false),
            ("application/graphql", false),
            ("text/plain", false),
            ("", false),
        ] {
            let found = check_content_type(Some(content_type));
            assert_eq!(found.is_ok(), is_read, "{content_type}");
        }
        assert!(check_content_type(None).is_err());
    }

    #[test]
    fn malformed_requests_are_told_apart() {
        let refusal = |body: &str| question_of_body(body.as_bytes()).unwrap_err();
        assert_eq!(refusal("{"), Malformed::Body);
        assert_eq!(refusal("1"), Malformed::Body);
        assert_eq!(refusal("[]"), Malformed::Batch);
        assert_eq!(refusal("{}"), Malformed::NoQuery);
        assert_eq!(refusal(r#"{"query":1}"#), Malformed::Parameter("query", "a string"));
        let operation = r#"{"query":"{a}","operationName":{}}"#;
        assert_eq!(refusal(operation), Malformed::Parameter("operationName", "a string"));
        let variables = r#"{"query":"{a}","variables":[1]}"#;
        assert_eq!(refusal(variables), Malformed::Parameter("variables", "an object"));
        let extensions = r#"{"query":"{a}","extensions":"x"}"#;
        assert_eq!(refusal(extensions), Malformed::Parameter("extensions", "an object"));
        let whole = r#"{"query":"{a}","variables":null,"operationName":null,"extensions":{}}"#;
        assert_eq!(question_of_body(whole.as_bytes()).unwrap().query, "{a}");
    }

    #[test]
    fn a_tag_is_known_in_whatever_form_it_comes_back() {
        let tag = etag(b"an answer");
        let text = tag.to_str().unwrap();
        let packed = text.replacen("\"", "", 1).replace('"', "-gzip\"");
        let asked = |list: String| {
            HeaderMap::from_iter([(IF_NONE_MATCH, HeaderValue::try_from(list).unwrap())])
        };
        for (list, is_known) in [
            (text.to_owned(), true),
            (format!("W/{text}"), true),
            (format!("\"{packed}"), true),
            (format!("\"a\", \"{packed}"), true),
            ("*".to_owned(), true),
            ("\"a\"".to_owned(), false),
            (text.replace('"', ""), false),
        ] {
            assert_eq!(known(&asked(list.clone()), &tag).is_some(), is_known, "{list}");
        }
        assert_eq!(known(&HeaderMap::new(), &tag), None);
        let answer = Response::builder().header(ETAG, &tag).header(CONTENT_ENCODING, "gzip");
        let answer = tag_packed(answer.body(()).unwrap());
        assert_eq!(answer.headers()[ETAG].to_str().unwrap(), format!("\"{packed}"));
    }

    #[test]
    fn the_parameters_of_a_url_are_the_same_as_those_of_a_body() {
        let pair = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        let found = question_of_url(vec![pair("query", "{a}"), pair("variables", "{\"n\":5}")]);
        assert_eq!(found.unwrap().variables.get("n").unwrap(), 5);
        let found = question_of_url(vec![pair("query", "{a}"), pair("variables", "{")]);
        assert_eq!(found.unwrap_err(), Malformed::Parameter("variables", "JSON"));
    }
}
