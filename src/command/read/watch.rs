//! `assay watch`: what is new, a JSON object a line, without a gap.
//!
//! One subscription tells of everything in order, and what each line is about is asked for; so the
//! position of the last line read is always the place to resume from.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use alloy::transports::http::reqwest::Url;
use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::time::{Instant, interval_at, sleep, timeout, timeout_at};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Request, header::SEC_WEBSOCKET_PROTOCOL};
use tokio_tungstenite::tungstenite::{Message, protocol::WebSocketConfig};
use tokio_tungstenite::{WebSocketStream, client_async_with_config, connect_async_with_config};

use super::source::{ServerArgs, Source, base_text, router_over};
use super::text::clean_json;
use crate::command::database::DatabaseArgs;
use crate::command::failure::Failure;
use crate::command::{say, stopped};

const NEWS: &str = include_str!("news.graphql");
const ABOUT: &str = include_str!("about.graphql");

/// The server closes a socket that says nothing for 90 s.
const PING: Duration = Duration::from_secs(30);

/// A server that does not greet by then is tried again.
const GREETING_MAX: Duration = Duration::from_secs(10);

/// Between two attempts, from the first to the last.
const RETRY: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// A line of news has 200 bytes.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// Bytes under way between this process and its own server.
const PIPE_BYTES: usize = 64 << 10;

#[derive(Debug, Args)]
#[command(
    before_help = "Example: assay watch --kinds slashings --url http://127.0.0.1:4747 >> slashings.jsonl"
)]
pub(crate) struct WatchArgs {
    /// Only these [default: all].
    #[arg(long, value_enum, value_delimiter = ',')]
    kinds: Vec<NewsKind>,
    /// Begin after this `position` of a line: what came since is told first. 0 is the beginning
    /// [default: now].
    #[arg(long, value_name = "POSITION")]
    after: Option<u64>,
    /// Run this in a shell for each line, the line on its standard input; stop if it fails.
    #[arg(long, value_name = "COMMAND")]
    exec: Option<String>,
    /// Stop when everything that is there has been told.
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum NewsKind {
    Actions,
    Slashings,
    Publications,
}

impl NewsKind {
    const fn word(self) -> &'static str {
        match self {
            Self::Actions => "RATING_ACTION",
            Self::Slashings => "SLASHING",
            Self::Publications => "PUBLICATION",
        }
    }
}

pub(crate) async fn run(database: &DatabaseArgs, args: WatchArgs) -> anyhow::Result<()> {
    let source = args.server.open(database).await?;
    let status = source.ask("{ status { feedPosition } }", json!({})).await?;
    let end = status.data["status"]["feedPosition"].as_str().and_then(|text| text.parse().ok());
    let end: u64 = end.context("the server does not say where its feed ends")?;
    let mut watch = Watch { place: args.after.unwrap_or(end), end, source, args };
    if watch.is_done() {
        return Ok(());
    }
    tokio::select! {
        () = stopped() => Err(Failure::Interrupted.into()),
        ended = watch.follow() => ended,
    }
}

/// Where a watch stands.
struct Watch {
    /// The last line told.
    place: u64,
    /// The end of the feed when it began.
    end: u64,
    source: Source,
    args: WatchArgs,
}

/// How a connection ended.
enum Ended {
    /// Everything asked for was told.
    Done,
    /// It broke after it had told something, or not.
    Broken { was_live: bool, reason: String },
}

impl Watch {
    const fn is_done(&self) -> bool {
        self.args.once && self.place >= self.end
    }

    /// Connects again and again.
    async fn follow(&mut self) -> anyhow::Result<()> {
        let mut wait = RETRY;
        loop {
            let (is_live, reason) = match self.connect_and_tell().await? {
                Ended::Done => return Ok(()),
                Ended::Broken { was_live, reason } => (was_live, reason),
            };
            if is_live {
                wait = RETRY;
            }
            eprintln!(
                "assay: {}: {reason}; tried again in {} s",
                self.source.name(),
                wait.as_secs()
            );
            sleep(wait).await;
            wait = (wait * 2).min(RETRY_MAX);
        }
    }

    async fn connect_and_tell(&mut self) -> anyhow::Result<Ended> {
        let broken = |reason: String| Ok(Ended::Broken { was_live: false, reason });
        let config = WebSocketConfig::default().max_message_size(Some(MESSAGE_BYTES_MAX));
        match &self.source {
            Source::Local { backend, .. } => {
                let (near, far) = tokio::io::duplex(PIPE_BYTES);
                let router = router_over(backend);
                let serving =
                    tokio::spawn(async move { axum::serve(Pipe(Some(far)), router).await });
                let opened = client_async_with_config(
                    request("ws://localhost/graphql")?,
                    near,
                    Some(config),
                );
                let ended = match opened.await {
                    Ok((socket, _)) => self.tell(socket).await,
                    Err(error) => broken(error.to_string()),
                };
                serving.abort();
                ended
            }
            Source::Remote { base, .. } => {
                let opened =
                    connect_async_with_config(request(&socket_address(base))?, Some(config), false);
                match timeout(GREETING_MAX, opened).await {
                    Ok(Ok((socket, _))) => self.tell(socket).await,
                    // The address may hold a token: it is not repeated.
                    Ok(Err(_)) => broken("opens no WebSocket".to_owned()),
                    Err(_) => broken("does not answer".to_owned()),
                }
            }
        }
    }

    /// Speaks `graphql-transport-ws` until the connection ends.
    async fn tell<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        mut socket: WebSocketStream<S>,
    ) -> anyhow::Result<Ended> {
        let mut was_live = false;
        let mut heard_at = Instant::now();
        let mut pings = interval_at(Instant::now() + PING, PING);
        let mut answer = Some(json!({ "type": "connection_init" }));
        loop {
            if let Some(message) = answer.take()
                && let Err(error) = socket.send(Message::text(message.to_string())).await
            {
                return Ok(Ended::Broken { was_live, reason: error.to_string() });
            }
            let silence_max = if was_live { PING * 2 } else { GREETING_MAX };
            let heard = tokio::select! {
                _ = pings.tick() => {
                    answer = Some(json!({ "type": "ping" }));
                    continue;
                }
                heard = timeout_at(heard_at + silence_max, socket.next()) => heard,
            };
            heard_at = Instant::now();
            let text = match heard {
                Ok(Some(Ok(Message::Text(text)))) => text,
                Ok(Some(Ok(Message::Close(_))) | None) => {
                    return Ok(Ended::Broken {
                        was_live,
                        reason: "closed the connection".to_owned(),
                    });
                }
                Ok(Some(Ok(_))) => continue,
                Ok(Some(Err(error))) => {
                    return Ok(Ended::Broken { was_live, reason: error.to_string() });
                }
                Err(_) => return Ok(Ended::Broken { was_live, reason: "says nothing".to_owned() }),
            };
            let message: Value = serde_json::from_str(&text).unwrap_or_default();
            match message["type"].as_str() {
                Some("connection_ack") => {
                    was_live = true;
                    let variables = json!({ "after": self.place.to_string() });
                    let payload = json!({ "query": NEWS, "variables": variables });
                    answer = Some(json!({ "id": "1", "type": "subscribe", "payload": payload }));
                }
                Some("ping") => answer = Some(json!({ "type": "pong" })),
                Some("next") => {
                    let payload = &message["payload"];
                    if let Some(error) = payload.pointer("/errors/0") {
                        return Err(self.source.refusal(error).into());
                    }
                    self.tell_one(&payload["data"]["news"]).await?;
                    if self.is_done() {
                        return Ok(Ended::Done);
                    }
                }
                Some("error") => {
                    let error = message.pointer("/payload/0").unwrap_or(&Value::Null);
                    return Err(self.source.refusal(error).into());
                }
                Some("complete") => {
                    return Ok(Ended::Broken {
                        was_live,
                        reason: "ended the subscription".to_owned(),
                    });
                }
                _ => {}
            }
        }
    }

    /// Writes one line, and hands it to the command.
    async fn tell_one(&mut self, news: &Value) -> anyhow::Result<()> {
        let place = news["position"].as_str().and_then(|text| text.parse().ok());
        let place = place.context("the server sends news without a position")?;
        let kinds = &self.args.kinds;
        if kinds.is_empty() || kinds.iter().any(|kind| news["kind"] == json!(kind.word())) {
            let answer = self.source.ask(ABOUT, json!({ "id": news["id"] })).await?;
            // In this order for who reads along.
            let line = clean_json(&format!(
                r#"{{"position":{},"kind":{},"isReplay":{},"id":{},"about":{}}}"#,
                news["position"], news["kind"], news["isReplay"], news["id"], answer.data["node"]
            ));
            say(&line);
            if let Some(command) = &self.args.exec {
                exec(command, &line)?;
            }
        }
        self.place = place;
        Ok(())
    }
}

/// Runs a command of the user's with a line on its standard input.
fn exec(command: &str, line: &str) -> anyhow::Result<()> {
    let mut child = Command::new("sh").args(["-c", command]).stdin(Stdio::piped()).spawn()?;
    if let Some(mut input) = child.stdin.take() {
        // A command need not read what it is handed.
        let _unread = writeln!(input, "{line}");
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("`{command}` ended with {status}: resume with the position of the line before");
    }
    Ok(())
}

fn request(address: &str) -> anyhow::Result<Request<()>> {
    let mut request =
        address.into_client_request().context("the server's address has no WebSocket")?;
    let protocol = HeaderValue::from_static("graphql-transport-ws");
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    Ok(request)
}

fn socket_address(base: &Url) -> String {
    let text = base_text(base);
    let rest = text.strip_prefix("http").unwrap_or(&text);
    format!("ws{rest}/graphql")
}

/// A listener with one connection, within this process.
struct Pipe(Option<DuplexStream>);

impl axum::serve::Listener for Pipe {
    type Io = DuplexStream;
    type Addr = ();

    async fn accept(&mut self) -> (DuplexStream, ()) {
        match self.0.take() {
            Some(stream) => (stream, ()),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<()> {
        Ok(())
    }
}
