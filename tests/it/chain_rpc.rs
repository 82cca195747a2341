//! Nodes as they are: limits, odd integers, cut answers, keys in their addresses.

use std::time::Duration;

use alloy::primitives::B256;
use assay::chain::{
    Contract, Endpoint, LogFilter, LogSource, Patience, RpcSource, ScriptedSource, SourceError,
};
use assay_domain::Fact;

use crate::chain_decode::{address_of, mainnet};
use crate::chain_ingest::{follow_to_the_end, options};
use crate::chain_world::{FIRST, chain, truth};
use crate::mock_node::{Fault, Habits, Integers, MockNode, Style};

fn patience() -> Patience {
    Patience {
        request_timeout: Duration::from_millis(400),
        attempts_max: 4,
        backoff_first: Duration::from_millis(1),
        backoff_max: Duration::from_millis(4),
    }
}

async fn connect(node: &MockNode) -> RpcSource {
    let endpoint = Endpoint::parse(&node.url()).unwrap();
    RpcSource::connect(endpoint, 1, patience()).await.unwrap()
}

fn delegation() -> LogFilter {
    LogFilter::of([address_of(Contract::DelegationManager)])
}

/// Ingests a chain of 300 blocks, all but 20 of them final, from a node with these habits.
async fn check(habits: Habits) {
    let chain = chain(300);
    chain.finalize(FIRST + 280);
    let node = MockNode::start(chain, habits.clone()).await;
    let source = connect(&node).await;
    let facts: Vec<Fact> = follow_to_the_end(source, options()).await.standing();
    assert_eq!(facts, truth(&node.chain, u64::MAX), "{habits:?}");
}

#[tokio::test]
async fn whatever_a_node_limits_all_facts_arrive() {
    for style in [Style::Infura, Style::Reth, Style::Silent] {
        check(Habits { style, range_max: Some(7), ..Habits::default() }).await;
        check(Habits { style, logs_max: Some(5), ..Habits::default() }).await;
    }
    check(Habits { cuts_from: Some(3), ..Habits::default() }).await;
    check(Habits { refuses_batches: true, hides_times: true, ..Habits::default() }).await;
}

#[tokio::test]
async fn however_a_node_writes_integers_all_facts_arrive() {
    for integers in [Integers::Hex, Integers::Text, Integers::Number] {
        for hides_times in [false, true] {
            check(Habits { integers, hides_times, ..Habits::default() }).await;
        }
    }
}

#[tokio::test]
async fn a_node_without_a_notion_of_finality_serves_with_a_depth() {
    let node =
        MockNode::start(chain(100), Habits { knows_no_finality: true, ..Habits::default() }).await;
    let heads = connect(&node).await.heads().await.unwrap();
    assert_eq!((heads.safe, heads.finalized), (None, None));
    let mut options = options();
    options.finality_depth = Some(10);
    let sink = follow_to_the_end(connect(&node).await, options).await;
    assert_eq!(sink.standing(), truth(&node.chain, u64::MAX));
    assert_eq!(sink.state().finalized.map(|block| block.number), Some(FIRST + 90));
}

#[tokio::test]
async fn a_suggested_range_is_taken_up() {
    let chain = chain(2_000);
    chain.finalize(FIRST + 2_000);
    let habits = Habits { range_max: Some(100), style: Style::Reth, ..Habits::default() };
    let node = MockNode::start(chain, habits).await;
    let mut options = options();
    (options.range_blocks_first, options.range_blocks_max) = (2_000, 20_000);
    options.concurrency = 1;
    let sink = follow_to_the_end(connect(&node).await, options).await;
    assert_eq!(sink.standing().len(), truth(&node.chain, u64::MAX).len());
    // One refusal, then 2,001 blocks in ranges of a hundred; there are no EigenPods to ask about.
    assert_eq!(node.calls("eth_getLogs"), 1 + 21);
}

#[tokio::test]
async fn a_node_of_another_chain_is_refused_with_a_sentence() {
    let node = MockNode::start(ScriptedSource::new(17_000, 1), Habits::default()).await;
    let endpoint = Endpoint::parse(&node.url()).unwrap();
    let error = RpcSource::connect(endpoint, 1, patience()).await.unwrap_err();
    let expected =
        format!("http://127.0.0.1:{} answers for chain 17000, but chain 1 is wanted", node.port);
    assert_eq!(error.to_string(), expected);
    assert!(!error.is_temporary());
}

#[tokio::test]
async fn passing_faults_are_waited_out() {
    for fault in [Fault::RateLimit, Fault::BadGateway, Fault::BrokenBody, Fault::Silence] {
        let node = MockNode::start(chain(5), Habits::default()).await;
        let source = connect(&node).await;
        node.fail([fault; 3]);
        let headers = source.headers(&[FIRST + 1]).await;
        assert_eq!(headers.unwrap()[0].unwrap().block.number, FIRST + 1, "{fault:?}");
    }
}

#[tokio::test]
async fn lasting_faults_are_reported_without_the_key() {
    for fault in [Fault::RateLimit, Fault::BadGateway, Fault::BrokenBody, Fault::Silence] {
        let node = MockNode::start(chain(5), Habits::default()).await;
        let source = connect(&node).await;
        node.fail([fault; 4]);
        let error = source.heads_of_one_request().await.unwrap_err();
        assert!(matches!(error, SourceError::Unavailable { attempts: 4, .. }), "{error:?}");
        assert!(error.is_temporary());
        assert!(!format!("{error} {error:?} {source:?}").contains("0123456789abcdef"));
    }
    let nowhere = "http://127.0.0.1:1/v3/0123456789abcdef?key=0123456789abcdef";
    let endpoint = Endpoint::parse(nowhere).unwrap();
    let error = RpcSource::connect(endpoint, 1, patience()).await.unwrap_err();
    assert!(error.to_string().starts_with("http://127.0.0.1:1 gives no usable answer"), "{error}");
    assert!(!format!("{error} {error:?}").contains("0123456789abcdef"));
}

/// One request, so that the number of attempts is the number of faults.
trait OneRequest {
    async fn heads_of_one_request(&self) -> Result<u64, SourceError>;
}

impl OneRequest for RpcSource {
    async fn heads_of_one_request(&self) -> Result<u64, SourceError> {
        self.chain_id().await
    }
}

#[tokio::test]
async fn an_unknown_block_is_no_empty_block() {
    let node = MockNode::start(chain(5), Habits::default()).await;
    let source = connect(&node).await;
    assert!(source.logs_of_block(delegation(), B256::repeat_byte(7)).await.is_err());
    assert_eq!(source.headers(&[FIRST, FIRST + 99]).await.unwrap()[1], None);
}

#[tokio::test]
async fn a_web_socket_serves_and_tells_of_new_blocks() {
    let chain = chain(50);
    chain.finalize(FIRST + 40);
    let node = MockNode::start(chain, Habits::default()).await;
    let endpoint = Endpoint::parse(&node.web_socket_url()).unwrap();
    let source = RpcSource::connect(endpoint, 1, patience()).await.unwrap();
    // The subscription tells of the present head first.
    tokio::time::timeout(Duration::from_secs(10), source.changed()).await.unwrap();
    node.chain.push(0, Vec::new());
    tokio::time::timeout(Duration::from_secs(10), source.changed()).await.unwrap();
    let sink = follow_to_the_end(source, options()).await;
    assert_eq!(sink.standing(), truth(&node.chain, u64::MAX));
    assert!(mainnet().contracts().start_block() > 0);
}
