//! The RPM package under a real systemd, as far as Debian's rpm goes: its libraries are not asked for,
//! as Debian's database of rpm knows of none.

use super::{
    contents,
    machine::{CONFIG, DOMAIN, SERVICE, apply, stored},
    package,
};
use crate::lab::{
    RUA,
    container::{Container, Debian},
    mails::Report,
};

#[test]
fn the_rpm_installs_verifies_upgrades_and_leaves_the_data() {
    let container = Container::boot(Debian::Bookworm);
    let output = apply(&container, &package(".rpm"), "rpm --install --nodeps");
    assert_eq!(output.code, 0, "{output:?}");
    contents::assert_installed(&container, "rpm");
    assert_eq!(container.sh("rpm --verify --nodeps rua-milter"), "");
    // The rule of RHEL leaves it disabled; that of Debian enables it.
    container.sh("systemctl enable --now rua-milter");
    container.expect_active(SERVICE);
    assert!(container.journal(SERVICE).contains("ready"));

    container.sh(&format!(
        "printf '%s\\n' '{DOMAIN}' >>{CONFIG} && systemctl restart rua-milter"
    ));
    let mail = Report::new("kept", "example.com", &[1]).google(RUA);
    container.put("/root/report.eml", mail);
    container.sh("rua-milter import - </root/report.eml");
    let before = container.property(SERVICE, "MainPID");
    let output = apply(
        &container,
        &package(".rpm"),
        "rpm --upgrade --replacepkgs --nodeps",
    );
    assert_eq!(output.code, 0, "{output:?}");
    container.expect_active(SERVICE);
    assert_ne!(
        container.property(SERVICE, "MainPID"),
        before,
        "the new one runs"
    );
    assert_eq!(stored(&container), 1);

    container.sh("rpm --erase rua-milter");
    assert_eq!(
        container.run(&["pgrep", "rua-milter"]).code,
        1,
        "it is stopped"
    );
    assert!(
        container
            .path("/var/lib/rua-milter/reports.sqlite")
            .exists()
    );
    assert!(
        container
            .read(&format!("{CONFIG}.rpmsave"))
            .contains("example.com")
    );
    assert!(!container.path("/usr/sbin/rua-milter").exists());
}
