//! Signals that come while mail does.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
};

use super::{Place, answer, is_later};
use crate::lab::{
    SOON,
    milter::{DISCARD, Milter},
    until,
};

const CLIENTS: usize = 4;

/// Lets clients send reports until `work` is done; gives how many were taken. `heard` says of an
/// answer whether the report was; if not, the client comes again with it.
fn under_load(place: &mut Place, heard: fn(&str) -> bool, work: impl FnOnce(&mut Place)) -> u64 {
    let (socket, done) = (place.socket(), AtomicBool::new(false));
    let (socket, done) = (&socket, &done);
    let mut taken = 0;
    thread::scope(|scope| {
        let client = |client: usize| {
            let mut taken = 0;
            while !done.load(Relaxed) {
                let id = format!("{client}-{taken}");
                until("it is taken", SOON, || heard(&answer(socket, &id)));
                taken += 1;
            }
            taken
        };
        let clients: Vec<_> = (0..CLIENTS)
            .map(|n| scope.spawn(move || client(n)))
            .collect();
        // A test that fails lets its clients end.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(place)));
        done.store(true, Relaxed);
        taken = clients
            .into_iter()
            .map(|c| c.join().expect("a client"))
            .sum();
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
    });
    taken
}

#[test]
fn reloads_under_load_are_heard_by_nobody() {
    const RELOADS: usize = 30;
    let mut place = Place::start();
    let heard = |answer: &str| {
        assert_eq!(answer, DISCARD);
        true
    };
    let taken = under_load(&mut place, heard, |place| {
        let whole = place.daemon.settings().clone();
        let mut broken = whole.clone();
        broken.limits = "max_message_bytes = \"some\"".into();
        let mut other = whole.clone();
        other.domains += "[[domain]]\nname = \"example.net\"\nrua = [\"rua@reports.example\"]\n";
        let told = |place: &Place, text: &str| place.daemon.log().matches(text).count();
        for n in 0..RELOADS {
            let (settings, text) = match n % 3 {
                0 => (&other, "configuration reloaded"),
                1 => (&broken, "the configuration is broken; the old one stays"),
                _ => (&whole, "configuration reloaded"),
            };
            let before = told(place, text);
            place.daemon.configure(settings);
            place.daemon.signal("HUP");
            until(text, SOON, || told(place, text) > before);
        }
    });
    println!("{taken} mails beside {RELOADS} reloads");
    assert!(taken > 20, "{taken}");
    place.pass();
    place.end_whole(taken);
}

#[test]
fn ends_under_load_lose_nothing_and_come_in_time() {
    const ENDS: usize = 5;
    let mut place = Place::start();
    // Nobody is there between two runs.
    let heard = |answer: &str| {
        assert!(
            answer.is_empty() || answer == DISCARD || is_later(answer),
            "{answer}"
        );
        answer == DISCARD
    };
    let taken = under_load(&mut place, heard, |place| {
        for n in 0..ENDS {
            let entries = || place.daemon.log().matches("verdict=accepted").count();
            let before = entries();
            until("mail comes", SOON, || entries() > before + 10);
            // Idle ones are not waited for.
            let idle = Milter::connect(&place.socket()).expect("a session");
            let began = std::time::Instant::now();
            place.stop();
            let took = began.elapsed();
            assert!(took.as_secs() < 10, "end {n}: {took:?}");
            drop(idle);
            place.daemon.restart();
        }
    });
    println!("{taken} mails beside {ENDS} ends");
    // What was taken and not heard of, as the connection ended, came again.
    place.end_whole(taken);
}
