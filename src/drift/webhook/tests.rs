use std::{
    collections::VecDeque,
    sync::Mutex,
    time::{Duration, Instant},
};

use axum::{Router, http::HeaderMap, routing::post};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

use super::*;
use crate::{
    config::file,
    telemetry::install_crypto,
    terms::{FindingKind, FindingSource, Severity},
};

type Posts = Arc<Mutex<Vec<(HeaderMap, serde_json::Value)>>>;

/// Answers each post with the next of `statuses`, then with 204; gives its URL and what came.
async fn server(statuses: &[u16]) -> (String, Posts) {
    let posts = Posts::default();
    let statuses = Arc::new(Mutex::new(VecDeque::from(statuses.to_vec())));
    let seen = Arc::clone(&posts);
    let take = move |headers: HeaderMap, body: String| async move {
        let json = serde_json::from_str(&body).unwrap();
        seen.lock().unwrap().push((headers, json));
        let status = statuses.lock().unwrap().pop_front().unwrap_or(204);
        StatusCode::from_u16(status).unwrap()
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let routes = Router::new().route("/hook", post(take));
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    (url, posts)
}

struct Running {
    sender: Sender,
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
    _dir: tempfile::TempDir,
}

fn start(url: &str, more: &str) -> Running {
    install_crypto();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rua-milter.toml");
    std::fs::write(dir.path().join("secret"), "open sesame\n").unwrap();
    let text =
        format!("node = \"mx1\"\n[webhook]\nurl = \"{url}\"\nsecret_file = \"secret\"\n{more}");
    std::fs::write(&path, text).unwrap();
    let (_, config) = watch::channel(Arc::new(file::load(&path).unwrap()));
    let (sender, queue) = queue(config.clone(), Arc::new(Instruments::disconnected()));
    let (end, ended) = oneshot::channel();
    let task = tokio::spawn(run(queue, config, async {
        let _ = ended.await;
    }));
    Running {
        sender,
        end,
        task,
        _dir: dir,
    }
}

fn changes(detail: &str) -> Changes {
    let open = OpenFinding {
        finding: Finding::new(
            &domain(),
            FindingKind::RecordMissing,
            Severity::High,
            detail.into(),
        ),
        source: FindingSource::Dns,
        first_seen: 100,
        last_seen: 200,
    };
    Changes {
        opened: vec![open.clone()],
        closed: vec![open],
    }
}

fn domain() -> Domain {
    Domain::parse("example.com").unwrap()
}

/// Everything in the queue is posted, and the task ends by itself.
async fn finish(running: Running) {
    drop(running.sender);
    running.task.await.unwrap();
}

#[tokio::test]
async fn each_change_is_one_document_with_the_secret() {
    let (url, posts) = server(&[]).await;
    let running = start(&url, "");
    let odd = "a \"quoted\" text\n\u{202e}";
    running.sender.tell(&domain(), &changes(odd), 300);
    finish(running).await;
    let posts = posts.lock().unwrap();
    let (headers, opened) = &posts[0];
    assert_eq!(headers["x-webhook-secret"], "open sesame");
    assert_eq!(headers["content-type"], "application/json");
    let expected = serde_json::json!({
        "event": "opened", "at": 300, "node": "mx1", "domain": "example.com",
        "kind": "record_missing", "severity": "high", "subject": "example.com", "detail": odd,
        "publish": null, "evidence": {}, "next_step": "Publish a record.",
        "first_seen": 100, "last_seen": 200,
    });
    assert_eq!(*opened, expected);
    assert_eq!((posts.len(), &posts[1].1["event"]), (2, &"closed".into()));
}

#[tokio::test]
async fn what_fails_is_tried_again_and_what_is_refused_is_not() {
    let (url, posts) = server(&[500, 204, 404]).await;
    let running = start(&url, "");
    running.sender.tell(&domain(), &changes(""), 300);
    finish(running).await;
    let posts = posts.lock().unwrap();
    let events: Vec<_> = posts.iter().map(|(_, json)| &json["event"]).collect();
    assert_eq!(events, ["opened", "opened", "closed"]);
}

#[tokio::test]
async fn a_redirect_takes_the_secret_nowhere() {
    let (url, posts) = server(&[302, 307]).await;
    let running = start(&url, "");
    running.sender.tell(&domain(), &changes(""), 300);
    finish(running).await;
    assert_eq!(posts.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_server_that_hangs_delays_nobody_and_not_the_end() {
    // Takes connections into its backlog and never answers.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let running = start(&url, "timeout_secs = 600");
    let began = Instant::now();
    for _ in 0..limits::WEBHOOK_QUEUE {
        running.sender.tell(&domain(), &changes(""), 300);
    }
    assert!(began.elapsed() < Duration::from_secs(2));
    let queued = running.sender.queue.max_capacity() - running.sender.queue.capacity();
    assert!(queued >= limits::WEBHOOK_QUEUE - 1, "full: {queued}");
    // The sender lives on: only the time ends it.
    running.end.send(()).unwrap();
    running.task.await.unwrap();
    let took = began.elapsed();
    assert!(took < limits::WEBHOOK_END * 2, "{took:?}");
}
