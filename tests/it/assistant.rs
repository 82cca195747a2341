//! The server of tools for assistants, spoken to by the SDK's own client over standard input and
//! output.

use std::process::Stdio;

use alloy::transports::http::reqwest;
use rmcp::model::{CallToolRequestParams, CallToolResult};
use rmcp::service::RunningService;
use rmcp::{RoleClient, ServiceExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::graphql::live::serve;
use crate::ledger::ledger_rated;
use crate::lrt::five_rated;

type Client = RunningService<RoleClient, ()>;

/// `assay mcp` as an assistant starts it, and the SDK's client.
async fn connect(option: &str, url: &str) -> (tokio::process::Child, Client) {
    let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_assay"))
        .args(["mcp", option, url])
        .env_remove("ASSAY_URL")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let pipes = (child.stdout.take().unwrap(), child.stdin.take().unwrap());
    let client = ().serve(pipes).await.unwrap();
    (child, client)
}

async fn call(client: &Client, name: &'static str, arguments: Value) -> CallToolResult {
    let Value::Object(arguments) = arguments else { panic!("{arguments}") };
    let request = CallToolRequestParams::new(name).with_arguments(arguments);
    client.call_tool(request).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_tool_answers_with_its_position_and_where_to_look() {
    let database = ledger_rated().await;
    let served = serve(&database.pool().await).await;
    let (mut child, client) = connect("--url", &served).await;
    let tools = client.list_all_tools().await.unwrap();
    const SET: &str = "operator-set-1-0x12b75d5ed35320b33daf37f90ff0f6d31796cc3d-0";
    let asked = [
        ("list_ratings", json!({ "kind": "AVS", "worst": "D", "limit": 3 }), "/"),
        ("get_rating", json!({ "entity": SET, "at": 300 + 60 }), "/e/"),
        ("explain_rating", json!({ "entity": SET, "at": "block:24712915" }), "/e/"),
        ("rating_history", json!({ "entity": SET, "limit": 2 }), "/e/"),
        ("diff_rating", json!({ "entity": SET, "before": "block:24763744" }), "/e/"),
        ("compare", json!({ "entities": [SET, "operator-set-1-0x90c68bf0…-0"] }), "/"),
        ("recent_actions", json!({ "limit": 2 }), "/actions"),
        ("open_slashings", json!({ "all": true }), "/slashings"),
        ("verify_publication", json!({ "entity": SET }), "/e/"),
        ("methodology", json!({}), "/methodology"),
    ];
    for tool in &tools {
        let is_asked = asked.iter().any(|(name, ..)| *name == tool.name);
        assert!(is_asked || tool.name == "look_through", "{} is not tried", tool.name);
        assert_eq!(tool.annotations.as_ref().unwrap().read_only_hint, Some(true));
    }
    assert_eq!(tools.len(), asked.len() + 1);
    for (name, arguments, path) in asked {
        let result = call(&client, name, arguments).await;
        assert_eq!(result.is_error, Some(false), "{name}: {result:?}");
        let answer = result.structured_content.unwrap();
        let position = answer["position"].as_str().unwrap();
        assert!(position.parse::<u64>().unwrap() > 0, "{name}");
        let link = answer["permalink"].as_str().unwrap();
        assert!(link.starts_with(&format!("{served}{path}")), "{name}: {link}");
        assert!(link.ends_with(&format!("?at={position}")), "{name}: {link}");
        assert!(answer["data"].as_object().is_some_and(|data| !data.is_empty()), "{name}");
    }
    // What cannot be answered is said in words that an assistant can act on.
    for (name, arguments, words) in [
        ("get_rating", json!({ "entity": SET.replace("b33", "c33") }), "the nearest"),
        ("get_rating", json!({}), "entity is missing"),
        ("get_rating", json!({ "entity": SET, "at": "soon" }), "no position"),
        ("look_through", json!({ "entity": SET }), "is no token"),
        ("list_ratings", json!({ "sql": "DROP" }), "takes no sql"),
    ] {
        let result = call(&client, name, arguments).await;
        assert_eq!(result.is_error, Some(true), "{name}");
        let said = format!("{:?}", result.content);
        assert!(said.contains(words), "{name}: {said}");
    }
    client.cancel().await.unwrap();
    assert!(child.wait().await.unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_assistant_looks_through_a_token_in_the_local_database() {
    let database = five_rated().await;
    let (_child, client) = connect("--database-url", &database.url).await;
    let listed = call(&client, "list_ratings", json!({ "kind": "LRT" })).await;
    let token = &listed.structured_content.unwrap()["data"]["entities"]["nodes"][0]["slug"];
    let found = call(&client, "look_through", json!({ "entity": token })).await;
    let answer = found.structured_content.unwrap();
    let positions = &answer["data"]["entity"]["backing"]["positions"]["nodes"];
    assert!(positions.as_array().unwrap().len() > 4, "{answer}");
    let link = answer["permalink"].as_str().unwrap();
    assert!(link.starts_with("http://127.0.0.1:4747/e/lrt-1-0x"), "{link}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn assistants_of_this_machine_are_answered_by_http_and_web_pages_are_not() {
    let database = ledger_rated().await;
    let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_assay"))
        .args(["mcp", "--listen", "127.0.0.1:0", "--database-url", &database.url])
        .env_remove("ASSAY_URL")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let said = BufReader::new(child.stdout.take().unwrap()).lines().next_line().await.unwrap();
    let url = said.unwrap().strip_prefix("MCP: ").unwrap().to_owned();
    let post = async |method: &str, parameters: Value, header: Option<(&str, &str)>| {
        let body = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": parameters });
        let mut request = reqwest::Client::new()
            .post(&url)
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .body(body.to_string());
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let (status, text) = post(
        "initialize",
        json!({ "protocolVersion": "2025-06-18", "capabilities": {},
            "clientInfo": { "name": "test", "version": "1" } }),
        None,
    )
    .await;
    let answer: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status} {text}"));
    assert_eq!(answer["result"]["serverInfo"]["name"], "assay", "{answer}");
    // No session: every question stands alone.
    let ask = || {
        let arguments = json!({ "kind": "AVS", "limit": 2 });
        json!({ "name": "list_ratings", "arguments": arguments })
    };
    let (status, text) = post("tools/call", ask(), None).await;
    let answer: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status} {text}"));
    let told = &answer["result"]["structuredContent"];
    assert_eq!(told["data"]["entities"]["nodes"].as_array().unwrap().len(), 2, "{answer}");
    assert!(told["position"].is_string());
    for header in [("origin", "https://evil.example"), ("host", "evil.example")] {
        let (status, text) = post("tools/call", ask(), Some(header)).await;
        assert!(status == 403 && !text.contains("structuredContent"), "{header:?} {status} {text}");
    }
    let long = json!({ "name": "list_ratings", "arguments": { "contains": "x".repeat(1 << 17) } });
    assert_eq!(post("tools/call", long, None).await.0, 413);
}
