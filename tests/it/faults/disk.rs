//! Disks that are full, or take no writes.

use super::{Place, is_later};
use crate::lab::{
    RUA, SOON, aftermath,
    daemon::Stored,
    disk::Disk,
    free_port,
    mails::{self, Report},
    milter::{self, DISCARD},
    page,
    strace::Attached,
    until,
};

/// A data directory on a disk of its own, which is to be dropped before the folder that it lies in.
fn on_disk(mib: u32, limits: &str) -> (Place, Disk) {
    let mut disk = None;
    let place = Place::with(|settings, _| {
        disk = Some(Disk::mount(&settings.data, &format!("size={mib}m")));
        settings.limits = limits.into();
    });
    (place, disk.expect("mounted"))
}

#[test]
fn while_little_is_free_ours_waits_outside() {
    let (mut place, disk) = on_disk(16, "min_free_bytes = 4194304");
    place.take("before");
    place.expect(1);
    disk.fill(2 << 20);
    until("it is seen", SOON, || is_later(&place.submit("meanwhile")));
    place.pass();
    disk.free();
    place.insist("after");
    // What was taken before the disk was seen to be full is taken again, and counts once.
    place.insist("meanwhile");
    let log = place.daemon.log();
    assert!(!log.contains("ERROR"), "something failed: {log}");
    place.expect(3);
    place.stop();
    aftermath::assert_whole(place.daemon.data(), 3);
}

/// 300 records of one message each, in a mail of 300 KB of which an archive keeps 100.
fn large(id: &str) -> Vec<u8> {
    let mut state = 1_u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    let noise: Vec<u8> = (0..75_000).map(|_| noise()).collect();
    let mail = Report::new(id, "example.com", &[1; 300]).plain(RUA);
    let mail = String::from_utf8(mail).expect("ASCII");
    mails::crlf(&mail.replacen("A report.", &mails::base64(&noise), 1))
}

/// The more room there is, the later in a mail's life it runs out: as the spool takes it, as it is
/// archived, as it is stored, as the spool lets it go.
#[test]
fn a_disk_that_is_full_at_any_step_loses_nothing() {
    let (mut place, disk) = on_disk(32, "min_free_bytes = 1");
    let small = |id: &str| Report::new(id, "example.com", &[1]).google(RUA);
    place.take("before");
    place.expect(1);
    let mut all = Stored {
        reports: 1,
        messages: 1,
    };
    for leave in (0..96).step_by(16) {
        let mail = small(&format!("small-{leave}"));
        all.messages += 1;
        runs_out(&place, &disk, leave, &mail, &mut all);
    }
    for leave in (240..640).step_by(40) {
        let mail = large(&format!("large-{leave}"));
        all.messages += 300;
        runs_out(&place, &disk, leave, &mail, &mut all);
    }
    // Where none of the sizes meets its step any more, they are to be chosen anew.
    for step in [
        "could not be made durable",
        "reports wait in the spool error=\"the spool fails",
        "reports wait in the spool error=\"archive",
        "reports wait in the spool error=\"report store",
    ] {
        assert!(place.daemon.log().contains(step), "never: {step}");
    }
    place.stop();
    aftermath::assert_whole(place.daemon.data(), all.reports);
}

/// One mail comes while so many KiB are free, and again once there is room. With it there are `all`.
fn runs_out(place: &Place, disk: &Disk, leave: usize, mail: &[u8], all: &mut Stored) {
    let take = || milter::submit(&place.socket(), RUA, mail).expect("an answer");
    let errors = || place.daemon.log().matches("ERROR").count();
    let before = errors();
    disk.fill(leave << 10);
    let answer = take();
    assert!(answer == DISCARD || is_later(&answer), "{answer}");
    place.pass();
    until("it is done, or fails", SOON, || {
        place.daemon.spool("new").is_empty() || errors() > before
    });
    let log = place.daemon.log();
    let failed = log.lines().filter(|line| line.contains("ERROR"));
    println!("{leave} KiB: {answer}: {:?}", failed.skip(before).last());
    disk.free();
    until("it is taken", SOON, || take() == DISCARD);
    all.reports += 1;
    place.daemon.expect_stored("example.com", *all);
}

#[test]
fn a_file_system_turned_read_only_is_heard_by_ours_alone() {
    let port = free_port();
    let place = Place::with(|settings, _| {
        settings.metrics = format!("prometheus = \"127.0.0.1:{port}\"");
    });
    place.take("before");
    place.expect(1);
    // A kernel that makes a sick file system read-only does so under open files, as no mount can.
    let calls = "pwrite64,ftruncate,mkdir,rename,unlink";
    let fault = [
        "-e".to_owned(),
        format!("trace={calls}"),
        "-e".to_owned(),
        format!("inject={calls}:error=EROFS"),
    ];
    let output = place.dir.path().join("trace");
    let fault = Attached::to(place.daemon.pid(), &output, &fault);
    until("it is heard", SOON, || is_later(&place.submit("ours")));
    assert!(is_later(&place.submit("ours")));
    place.pass();
    assert_eq!(page(port, "/readyz").0, 503);
    assert_eq!(page(port, "/metrics").0, 200);
    drop(fault);
    place.insist("ours");
    assert_eq!(page(port, "/readyz").0, 200);
    place.end_whole(2);
}

#[test]
fn an_archive_that_cannot_be_written_delays_no_mail() {
    let place = Place::start();
    place.take("before");
    place.expect(1);
    let disk = Disk::mount(&place.file("archive"), "size=1m,ro");
    for n in 0..5 {
        place.take(&format!("meanwhile-{n}"));
    }
    place.pass();
    place.expect_log("archive: cannot make");
    assert_eq!(place.daemon.spool("new").len(), 5);
    drop(disk);
    place.end_whole(6);
}

#[test]
fn without_a_place_to_write_it_does_not_start() {
    let mut place = Place::start();
    place.take("before");
    place.expect(1);
    place.stop();
    let (data, kept) = (
        place.daemon.data().to_owned(),
        place.dir.path().join("kept"),
    );
    std::fs::rename(&data, &kept).expect("to move");
    let disk = Disk::mount(&data, "size=1m,ro");
    place.daemon.launch();
    assert!(!place.daemon.wait().success());
    place.expect_log("Read-only file system");
    drop(disk);
    std::fs::remove_dir(&data).expect("the mount point");
    std::fs::rename(&kept, &data).expect("to move back");
    place.daemon.restart();
    place.take("after");
    place.end_whole(2);
}
