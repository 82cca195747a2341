//! Who answers: the schema over the local database, or a server over HTTP.

use std::time::Duration;

use alloy::primitives::B256;
use alloy::transports::http::reqwest::{Client, Response, Url, header};
use anyhow::Context as _;
use assay_domain::Word;
use assay_graphql::{ApiConfig, Backend};
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use clap::Args;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::At;
use super::text::{clean, clean_json, group, moment};
use crate::command::database::{DatabaseArgs, Open};
use crate::command::failure::Failure;

/// A server that has not answered by then is told of; its own limit is 5 s.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of an answer at most. A page of a hundred ratings with their working has 300 kB.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Where `assay run` and `assay demo` serve unless told: what links of a local answer lead to.
const SERVED_AT: &str = "http://127.0.0.1:4747";

/// What was published in a transaction.
const PUBLISHED: &str = "query ($transaction: Bytes32!) {
    publications(where: { txHash: $transaction }, first: 100) { nodes { word entity { slug } } } }";

/// The word that the record has of an entity.
const STANDS: &str =
    "query ($slug: String!, $asOf: AsOf) { entity(slug: $slug, asOf: $asOf) { rating { word } } }";

/// Which server, if not the local database.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServerArgs {
    /// Ask the server at this address instead of the local database.
    #[arg(long, value_name = "URL", env = "ASSAY_URL", hide_env_values = true)]
    url: Option<String>,
}

impl ServerArgs {
    /// The server at this address.
    pub(crate) const fn at(url: String) -> Self {
        Self { url: Some(url) }
    }

    /// Whether a server is asked.
    pub(crate) const fn is_remote(&self) -> bool {
        self.url.is_some()
    }

    /// Opens the database, or prepares to ask the server.
    pub(crate) async fn open(&self, database: &DatabaseArgs) -> anyhow::Result<Source> {
        let Some(url) = &self.url else {
            return Source::over(database.open().await?).await;
        };
        let base: Url = url
            .trim_end_matches('/')
            .trim_end_matches("/graphql")
            .parse()
            .ok()
            .filter(|url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .context("--url wants the address of a server, such as http://127.0.0.1:4747")?;
        let client = Client::builder()
            .connect_timeout(ANSWER_TIMEOUT)
            .read_timeout(ANSWER_TIMEOUT)
            .user_agent(concat!("assay/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Source::Remote { client, base })
    }
}

/// Who answers.
pub(crate) enum Source {
    /// The schema, in this process.
    Local { backend: Backend, open: Box<Open> },
    /// A server.
    Remote { client: Client, base: Url },
}

/// The routes of a server, in this process.
pub(super) fn router_over(backend: &Backend) -> Router {
    let Backend { pool, simulator, .. } = backend.clone();
    assay_graphql::router(pool, ApiConfig { simulator, ..ApiConfig::default() })
}

/// An answer without errors.
pub(crate) struct Answer {
    /// `data`.
    pub(crate) data: Value,
    /// `extensions.assay`: position, block, time.
    pub(crate) place: Value,
    /// The whole response, as it came; made anew when pages were put together.
    body: String,
}

impl Answer {
    /// The response for a program.
    pub(super) fn json(&self) -> String {
        clean_json(&self.body)
    }

    /// The position it was computed at.
    pub(crate) fn position(&self) -> &str {
        self.place["position"].as_str().unwrap_or("0")
    }

    /// Says as of when it is.
    pub(super) fn say_when(&self) {
        if let Some(time) = self.place["time"].as_str() {
            let block = self.place["block"]["number"].as_u64().unwrap_or_default();
            let (position, time) = (clean(self.position()), moment(time));
            eprintln!("As of position {position}, block {}, {time}.", group(block));
        }
    }

    /// Puts a list that came in several pages in the place of its first.
    fn join(&mut self, list: &str, whole: Value) {
        if let Some(found) = self.data.pointer_mut(list) {
            *found = whole;
        }
        let whole = json!({ "data": self.data, "extensions": { "assay": self.place } });
        self.body = whole.to_string();
    }
}

impl Source {
    /// The API over an open database.
    pub(crate) async fn over(open: Open) -> anyhow::Result<Self> {
        let backend = Backend::from(&open.reader().await?);
        Ok(Self::Local { backend, open: Box::new(open) })
    }

    /// The same with what plays scenarios, which needs the log.
    pub(crate) async fn with_scenarios(mut self) -> anyhow::Result<Self> {
        if let Self::Local { backend, open } = &mut self {
            backend.simulator = Some(open.simulator().await?);
        }
        Ok(self)
    }

    /// The whole response to a document, with its errors if it has any.
    pub(crate) async fn execute(&self, document: &str, variables: Value) -> anyhow::Result<String> {
        Ok(match self {
            Self::Local { backend, .. } => {
                assay_graphql::execute(backend.clone(), document, variables).await
            }
            Self::Remote { client, base } => {
                let asked = json!({ "query": document, "variables": variables });
                let request = client
                    .post(format!("{}/graphql", base_text(base)))
                    .header(header::CONTENT_TYPE, "application/json")
                    .header(header::ACCEPT, "application/json")
                    .body(asked.to_string());
                let answered = request.send().await.map_err(|error| away(base, &error))?;
                read(base, answered).await?
            }
        })
    }

    /// Asks a document. An answer with errors is an error.
    pub(crate) async fn ask(&self, document: &str, variables: Value) -> anyhow::Result<Answer> {
        let body = self.execute(document, variables).await?;
        let mut response: Value = serde_json::from_str(&body).map_err(|_| {
            Failure::Network(format!("{} answers with something else than JSON", self.name()))
        })?;
        if let Some(error) = response.pointer("/errors/0") {
            return Err(self.refusal(error).into());
        }
        let place = response["extensions"]["assay"].take();
        Ok(Answer { data: response["data"].take(), place, body })
    }

    /// Asks for page after page of the list at `list`, up to `limit` rows, all at one position.
    pub(crate) async fn ask_list(
        &self,
        document: &str,
        mut variables: Value,
        list: &str,
        limit: usize,
    ) -> anyhow::Result<Answer> {
        let page = |left: usize| json!(left.min(100));
        variables["first"] = page(limit);
        let mut answer = self.ask(document, variables.clone()).await?;
        let page_of = |answer: &Answer| {
            answer.data.pointer(list).cloned().filter(|page| page["nodes"].is_array())
        };
        let Some(mut whole) = page_of(&answer) else { return Ok(answer) };
        let mut is_one = true;
        loop {
            let count = whole["nodes"].as_array().map_or(0, Vec::len);
            if whole["pageInfo"]["hasNextPage"] != json!(true) || count >= limit {
                break;
            }
            variables["first"] = page(limit - count);
            variables["after"] = whole["pageInfo"]["endCursor"].take();
            let Some(mut next) = page_of(&self.ask(document, variables.clone()).await?) else {
                break;
            };
            let (Some(nodes), Value::Array(more)) =
                (whole["nodes"].as_array_mut(), next["nodes"].take())
            else {
                break;
            };
            if more.is_empty() {
                break;
            }
            nodes.extend(more);
            whole["pageInfo"] = next["pageInfo"].take();
            is_one = false;
        }
        if !is_one {
            answer.join(list, whole);
        }
        Ok(answer)
    }

    /// What `asOf` is for a point in time; a block without a chain is one of the only chain.
    pub(crate) async fn as_of(&self, at: &At) -> anyhow::Result<Value> {
        Ok(match at {
            At::Head => Value::Null,
            At::Finalized => {
                let answer = self.ask("{ status { head { position } } }", json!({})).await?;
                json!({ "position": answer.data["status"]["head"]["position"] })
            }
            At::Position(position) => json!({ "position": position.to_string() }),
            At::Block { chain, number } => {
                let chain = match chain {
                    Some(chain) => *chain,
                    None => self.only_chain().await?,
                };
                json!({ "block": { "chainId": chain, "number": number } })
            }
            At::BlockHash(hash) => json!({ "blockHash": hash }),
            At::Publication(transaction) => {
                json!({ "position": self.published_at(transaction).await?.to_string() })
            }
            At::Time(time) => json!({ "time": time }),
            At::Said(time) => json!({ "recordedAt": time }),
        })
    }

    async fn only_chain(&self) -> anyhow::Result<u64> {
        let answer = self.ask("{ status { chains { chainId } } }", json!({})).await?;
        let chains = answer.data["status"]["chains"].as_array().into_iter().flatten();
        let chains: Vec<u64> = chains.filter_map(|one| one["chainId"].as_u64()).collect();
        match chains[..] {
            [chain] => Ok(chain),
            [] => anyhow::bail!("the log is empty"),
            _ => anyhow::bail!("the log has chains {chains:?}: say block:CHAIN:N"),
        }
    }

    /// The position that the ratings of a transaction rest on, as their words say. It means the
    /// same today only if the record still has one of those words there.
    async fn published_at(&self, transaction: &B256) -> anyhow::Result<u64> {
        let variables = json!({ "transaction": transaction });
        let answer = self.ask(PUBLISHED, variables).await?;
        let nodes = answer.data["publications"]["nodes"].as_array().into_iter().flatten();
        let mut found = None;
        for node in nodes {
            let (word, slug) = (node["word"].as_str(), node["entity"]["slug"].as_str());
            let fields = word.and_then(|word| Word::unpack(word.parse().ok()?).ok());
            let (Some(fields), Some(slug)) = (fields, slug) else { continue };
            let position = fields.fields().log_pos;
            match found {
                Some((known, _)) if known != position => anyhow::bail!(
                    "the ratings of transaction {transaction} rest on several positions, \
                     {known} and {position} among them: say which"
                ),
                _ => found = Some((position, (slug.to_owned(), node["word"].clone()))),
            }
        }
        let Some((position, (slug, word))) = found else {
            let message = format!("no publication in transaction {transaction} is recorded here");
            return Err(Failure::NotFound(message).into());
        };
        let variables = json!({ "slug": slug, "asOf": { "position": position.to_string() } });
        match self.ask(STANDS, variables).await {
            Ok(answer) if answer.data["entity"]["rating"]["word"] == word => return Ok(position),
            Err(error) if !matches!(error.downcast_ref(), Some(Failure::NotFound(_))) => {
                return Err(error);
            }
            _ => {}
        }
        Err(Failure::NotFound(format!(
            "what transaction {transaction} published has been restated since, and its position \
             means another point now: said:TIME shows what had been said"
        ))
        .into())
    }

    /// Gets a path of the server's routes, chunk by chunk.
    pub(crate) async fn fetch(
        &self,
        path: &str,
        mut write: impl FnMut(&[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let cut = || Failure::Network(format!("{} cut the answer short", self.name()));
        match self {
            Self::Local { backend, .. } => {
                let router = router_over(backend);
                let request = Request::get(path).body(Body::empty())?;
                let Ok(response) = router.oneshot(request).await;
                let status = response.status().as_u16();
                let mut chunks = response.into_body().into_data_stream();
                let mut refused = Vec::new();
                while let Some(chunk) = chunks.next().await {
                    let chunk = chunk.map_err(|_| cut())?;
                    if status == 200 { write(&chunk)? } else { refused.extend_from_slice(&chunk) }
                }
                self.fetched(status, &refused)
            }
            Self::Remote { client, base } => {
                let request = client.get(format!("{}{path}", base_text(base)));
                let mut response = request.send().await.map_err(|error| away(base, &error))?;
                let status = response.status().as_u16();
                if status != 200 {
                    return self.fetched(status, read(base, response).await?.as_bytes());
                }
                while let Some(chunk) = response.chunk().await.map_err(|_| cut())? {
                    write(&chunk)?;
                }
                Ok(())
            }
        }
    }

    fn fetched(&self, status: u16, body: &[u8]) -> anyhow::Result<()> {
        if status == 200 {
            return Ok(());
        }
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        match body.pointer("/errors/0") {
            Some(error) => Err(self.refusal(error).into()),
            None => Err(Failure::Network(format!("{} answers with {status}", self.name())).into()),
        }
    }

    pub(super) fn refusal(&self, error: &Value) -> Failure {
        let mut message = clean(error["message"].as_str().unwrap_or("no reason is given"));
        if let Some(hint) = error["extensions"]["hint"].as_str() {
            message += &format!("; {}", clean(hint));
        }
        match error["extensions"]["code"].as_str() {
            Some("NOT_FOUND" | "POSITION_IN_FUTURE" | "BEFORE_FIRST_POSITION") => {
                Failure::NotFound(message)
            }
            Some("TIMEOUT" | "UNAVAILABLE") if matches!(self, Self::Local { .. }) => {
                Failure::Database(message)
            }
            Some("TIMEOUT" | "UNAVAILABLE") => Failure::Network(message),
            _ => Failure::Refused(message),
        }
    }

    /// Whom messages are about.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Local { .. } => "the local database".to_owned(),
            Self::Remote { base, .. } => host(base),
        }
    }

    /// Where people can look at `path` at the position of an answer.
    pub(crate) fn permalink(&self, path: &str, position: &str) -> String {
        let base = match self {
            Self::Local { .. } => SERVED_AT.to_owned(),
            Self::Remote { base, .. } => base_text(base),
        };
        format!("{base}{path}?at={position}")
    }
}

/// The address without a slash at its end.
pub(super) fn base_text(base: &Url) -> String {
    base.as_str().trim_end_matches('/').to_owned()
}

/// Host and port: the rest of the address may hold a token.
fn host(base: &Url) -> String {
    let port = base.port_or_known_default().unwrap_or_default();
    format!("{}:{port}", base.host_str().unwrap_or_default())
}

fn away(base: &Url, error: &alloy::transports::http::reqwest::Error) -> Failure {
    let what = if error.is_timeout() { "does not answer in time" } else { "cannot be reached" };
    Failure::Network(format!("{} {what}; is the address right, and does it run?", host(base)))
}

async fn read(base: &Url, mut response: Response) -> Result<String, Failure> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| away(base, &error))? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            let message = format!("{} answers with more than {ANSWER_BYTES_MAX} bytes", host(base));
            return Err(Failure::Network(message));
        }
        body.extend_from_slice(&chunk);
    }
    String::from_utf8(body)
        .map_err(|_| Failure::Network(format!("{} answers with something else", host(base))))
}
