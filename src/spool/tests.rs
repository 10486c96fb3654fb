//! The spool as its users see it.

use super::*;

fn envelope() -> Envelope {
    Envelope {
        client: Some([192, 0, 2, 9].into()),
        sender: "noreply@reporter.example".into(),
        recipients: vec!["rua@reports.example".into()],
        ..Envelope::of(Door::Milter)
    }
}

fn entry(raw: &[u8], parked: Option<Rejection>) -> NewEntry {
    NewEntry {
        envelope: envelope(),
        arrived: 1_700_000_000,
        raw: raw.into(),
        parked,
    }
}

#[tokio::test]
async fn what_was_put_is_there_after_reopening_until_it_is_settled() {
    let dir = tempfile::tempdir().expect("a directory");
    let (spool, writer) = open(dir.path(), Limits::default(), Arc::default()).expect("a spool");
    let first = spool.put(entry(b"one", None)).await.expect("durable");
    let second = spool.put(entry(b"two", None)).await.expect("durable");
    drop(spool);
    writer.join();

    let (spool, _writer) = open(dir.path(), Limits::default(), Arc::default()).expect("a spool");
    assert_eq!(spool.state().depth().new_entries, 2);
    assert_eq!(
        spool.claim(Among::All).await.expect("claimed"),
        [first, second]
    );
    let loaded = spool
        .reader()
        .expect("a reader")
        .load(first)
        .expect("read")
        .expect("there");
    assert_eq!(
        (loaded.raw.as_slice(), loaded.envelope),
        (b"one".as_slice(), envelope())
    );
    let settled = Settled {
        done: vec![first],
        parked: vec![Parked::of(second, Rejection::Truncated)],
        ..Settled::default()
    };
    spool.settle(settled).await.expect("settled");
    let depth = spool.state().depth();
    let held = 3 + serde_json::to_string(&envelope()).expect("JSON").len() as u64;
    assert_eq!(
        (depth.new_entries, depth.parked_entries, depth.parked_bytes),
        (0, 1, held)
    );
    assert!(spool.claim(Among::All).await.expect("claimed").is_empty());
}

#[tokio::test]
async fn an_entry_that_ended_the_program_comes_alone_and_is_parked_in_the_end() {
    let dir = tempfile::tempdir().expect("a directory");
    let (spool, _writer) = open(dir.path(), Limits::default(), Arc::default()).expect("a spool");
    let bad = spool.put(entry(b"bad", None)).await.expect("durable");
    let good = spool.put(entry(b"good", None)).await.expect("durable");
    assert_eq!(spool.claim(Among::All).await.expect("claimed"), [bad, good]);
    assert_eq!(spool.claim(Among::All).await.expect("claimed"), [bad, good]);
    spool.blame(bad).await.expect("counted");
    assert_eq!(spool.claim(Among::All).await.expect("claimed"), [good]);
    let done = Settled {
        done: vec![good],
        ..Settled::default()
    };
    spool.settle(done).await.expect("settled");
    let untried = spool.claim(Among::Untried).await;
    assert!(untried.expect("claimed").is_empty());
    for _ in 1..crate::limits::MAX_ATTEMPTS {
        assert_eq!(spool.claim(Among::All).await.expect("claimed"), [bad]);
        spool.blame(bad).await.expect("counted");
    }
    assert!(spool.claim(Among::All).await.expect("claimed").is_empty());
    assert_eq!(spool.state().depth().parked_entries, 1);
}

#[tokio::test]
async fn a_large_message_comes_out_as_it_went_in() {
    let dir = tempfile::tempdir().expect("a directory");
    let (spool, _writer) = open(dir.path(), Limits::default(), Arc::default()).expect("a spool");
    let reader = spool.reader().expect("a reader");
    for size in [
        0,
        crate::limits::SPOOL_WHOLE,
        crate::limits::SPOOL_WHOLE + 1,
    ] {
        let raw: Vec<u8> = (0..=250).cycle().take(size).collect();
        let id = spool.put(entry(&raw, None)).await.expect("durable");
        let entry = reader.load(id).expect("read").expect("there");
        assert!(entry.raw == raw, "{size}");
    }
}

#[tokio::test]
async fn a_spool_of_an_earlier_version_keeps_its_messages() {
    let dir = tempfile::tempdir().expect("a directory");
    let begin = || open(dir.path(), Limits::default(), Arc::default()).expect("a spool");
    drop(begin());
    let earlier = "ALTER TABLE entry ADD COLUMN raw BLOB NOT NULL DEFAULT x'';
        ALTER TABLE entry DROP COLUMN at_byte;
        ALTER TABLE entry DROP COLUMN parked_by;
        DROP TABLE message;
        DROP INDEX entry_waiting;
        CREATE INDEX entry_new ON entry (attempts > 0, id) WHERE state = 'new';
        PRAGMA user_version = 1";
    let envelope = serde_json::to_string(&envelope()).expect("JSON");
    let put = "INSERT INTO entry (state, arrived, network, size, envelope, raw)
        VALUES ('new', 1, '', 4, ?1, ?2)";
    Connection::open(dir.path().join(FILE))
        .and_then(|conn| {
            conn.execute_batch(earlier)?;
            conn.execute(put, (envelope, &b"mail"[..]))
        })
        .expect("a spool of version 1");
    let (spool, _writer) = begin();
    let ids = spool.claim(Among::All).await.expect("claimed");
    let reader = spool.reader().expect("a reader");
    let entry = reader.load(ids[0]).expect("read").expect("there");
    assert_eq!((ids.len(), entry.raw), (1, b"mail".to_vec()));
    let done = Settled {
        done: ids,
        ..Settled::default()
    };
    spool.settle(done).await.expect("settled");
    let left = "SELECT (SELECT count(*) FROM entry) + (SELECT count(*) FROM message)";
    let left: i64 = reader
        .0
        .query_row(left, [], |row| row.get(0))
        .expect("read");
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_broken_file_is_never_moved_away_from_under_its_owner() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join(FILE);
    std::fs::write(&path, b"broken, and long enough to tell".repeat(100)).expect("written");
    let error = open_beside(dir.path(), Limits::default()).expect_err("an error");
    assert!(matches!(error, SpoolError::Open { .. }), "{error}");
    assert!(path.exists());
}

#[tokio::test]
async fn parked_entries_wait_again_when_asked_but_not_heads() {
    let dir = tempfile::tempdir().expect("a directory");
    let (spool, _writer) = open(dir.path(), Limits::default(), Arc::default()).expect("a spool");
    let head = vec![0; crate::limits::OVERSIZE_HEAD];
    let mut ids = Vec::new();
    for (raw, reason) in [
        (&b"cut"[..], Rejection::Truncated),
        (&head, Rejection::TooLarge),
        (b"bomb", Rejection::TooLarge),
        (b"killer", Rejection::Crashed),
    ] {
        let put = spool.put(entry(raw, Some(reason)));
        ids.push(put.await.expect("durable"));
    }
    let bytes_before = spool.state().depth().parked_bytes;
    let whole = [ids[0], ids[2], ids[3]];
    let reader = spool.reader().expect("a reader");
    let retriable = |reason| reader.retriable(reason).expect("read");
    assert_eq!(retriable(None), whole);
    assert_eq!(retriable(Some(Rejection::TooLarge)), [ids[2]]);
    let retried = spool.retry(retriable(None)).await.expect("waiting");
    assert_eq!(retried, whole);
    assert!(retriable(None).is_empty());
    let depth = spool.state().depth();
    assert_eq!((depth.new_entries, depth.parked_entries), (3, 1));
    assert_eq!(depth.new_bytes + depth.parked_bytes, bytes_before);
    assert_eq!(spool.claim(Among::All).await.expect("claimed"), whole);
}

#[tokio::test]
async fn what_another_version_parked_is_found_once_but_no_poison() {
    let dir = tempfile::tempdir().expect("a directory");
    let (spool, _writer) = open(dir.path(), Limits::default(), Arc::default()).expect("a spool");
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(spool.put(entry(b"x", None)).await.expect("durable"));
    }
    let settle = |parked| {
        spool.settle(Settled {
            parked,
            ..Settled::default()
        })
    };
    let reasons = [Rejection::Truncated, Rejection::Crashed];
    let parked = [0, 1, 2, 3].map(|n: usize| Parked::of(ids[n], reasons[n % 2]));
    settle(parked.to_vec()).await.expect("settled");
    let reader = spool.reader().expect("a reader");
    let others = |after| reader.parked_by_others(after, 2).expect("read");
    assert!(others(0).is_empty());
    let upgrade = "UPDATE entry SET parked_by = '0.0.1/1'";
    let other = Connection::open(dir.path().join(FILE)).expect("the spool");
    other.execute(upgrade, []).expect("an earlier version");
    assert_eq!(
        (others(0), others(ids[1])),
        (ids[..2].to_vec(), ids[2..].to_vec())
    );
    spool.retry(vec![ids[1]]).await.expect("waiting");
    settle(vec![Parked::of(ids[1], Rejection::Crashed)])
        .await
        .expect("settled");
    other.execute(upgrade, []).expect("an earlier version");
    assert_eq!(others(0), [ids[0], ids[2]], "twice is enough");
}

#[tokio::test]
async fn only_what_is_parked_is_dropped() {
    let dir = tempfile::tempdir().expect("a directory");
    let (spool, _writer) = open(dir.path(), Limits::default(), Arc::default()).expect("a spool");
    let waits = spool.put(entry(b"new", None)).await.expect("durable");
    let parked = entry(b"old", Some(Rejection::Truncated));
    let parked = spool.put(parked).await.expect("durable");
    let dropped = spool.drop_parked(vec![waits, parked, 99]).await;
    assert_eq!(dropped.expect("done"), [parked]);
    let depth = spool.state().depth();
    assert_eq!(
        (depth.new_entries, depth.parked_entries, depth.parked_bytes),
        (1, 0, 0)
    );
    assert!(depth.parked_by_network.is_empty());
    let left = spool
        .reader()
        .expect("a reader")
        .load(parked)
        .expect("read");
    assert!(left.is_none());
}

#[tokio::test]
async fn of_a_parked_entry_less_may_be_kept() {
    let dir = tempfile::tempdir().expect("a directory");
    let (spool, _writer) = open(dir.path(), Limits::default(), Arc::default()).expect("a spool");
    let id = spool.put(entry(&[b'x'; 900], None)).await.expect("durable");
    let bytes_before = spool.state().depth().new_bytes;
    assert_eq!(spool.claim(Among::All).await.expect("claimed"), [id]);
    let settled = Settled {
        parked: vec![Parked::of(id, Rejection::NoFeedback)],
        shortened: vec![(id, b"less".to_vec())],
        ..Settled::default()
    };
    spool.settle(settled).await.expect("settled");
    let depth = spool.state().depth();
    assert_eq!(
        (depth.new_bytes, depth.parked_bytes),
        (0, bytes_before - 896)
    );
    let kept = spool.reader().expect("a reader").load(id).expect("read");
    assert_eq!(kept.expect("there").raw, b"less");
}

#[tokio::test]
async fn what_is_not_wanted_is_not_tried_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let (spool, _writer) = open(dir.path(), Limits::default(), Arc::default()).expect("a spool");
    let off = entry(b"header", Some(Rejection::FailureReportsOff));
    spool.put(off).await.expect("durable");
    let reader = spool.reader().expect("a reader");
    assert!(reader.retriable(None).expect("read").is_empty());
}

#[tokio::test]
async fn a_full_spool_and_a_greedy_network_are_told_apart() {
    let dir = tempfile::tempdir().expect("a directory");
    let limits = Limits {
        max_message: 1_000,
        max_spool: 10_000,
        min_free: 0,
        ..Limits::default()
    };
    let (spool, _writer) = open(dir.path(), limits, Arc::default()).expect("a spool");
    let network = envelope().network();
    assert_eq!(network, "192.0.2.0/24");
    spool
        .put(entry(&[0; 1_001], Some(Rejection::Truncated)))
        .await
        .expect("durable");
    assert_eq!(spool.state().room(&network), Err(Rejection::ParkedQuota));
    assert_eq!(spool.state().room("198.51.100.0/24"), Ok(()));
    spool.put(entry(&[0; 8_000], None)).await.expect("durable");
    assert_eq!(
        spool.state().room("198.51.100.0/24"),
        Err(Rejection::NoRoom)
    );
}

#[tokio::test]
async fn the_space_of_what_is_done_is_given_back_at_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let (spool, _writer) = open(dir.path(), Limits::default(), Arc::default()).expect("a spool");
    let large = vec![0; 2 * crate::limits::SPOOL_WHOLE];
    let id = spool.put(entry(&large, None)).await.expect("durable");
    let done = Settled {
        done: vec![id],
        ..Settled::default()
    };
    spool.settle(done).await.expect("settled");
    let reader = spool.reader().expect("a reader");
    let free = || -> i64 {
        let free = reader
            .0
            .query_row("PRAGMA freelist_count", [], |row| row.get(0));
        free.expect("read")
    };
    assert!(free() > 500);
    // A page a second would take minutes.
    for _ in 0..200 {
        if free() == 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("{} pages are left", free());
}
