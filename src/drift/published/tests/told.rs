//! What is said of a finding, and what is to be published.

use super::*;

#[test]
fn the_detail_names_fields_and_values() {
    let list = list(&[], Some("v=DMARC1; p=reject"));
    let found = judged(&list, &seen(answer(&["v=DMARC1; p=none"]))).findings;
    assert_eq!(found[0].detail, "p: wanted reject, published none");
}

#[test]
fn advice_is_the_wanted_record_or_the_mended_one() {
    let advice_of = |list: &DomainList, texts: &[&str]| {
        let expected = Expected::of(list, list.iter().next().unwrap());
        advice::of_record(&seen(answer(texts)), &expected)
    };
    let plain = list(&["r@ours.example"], None);
    assert_eq!(
        advice_of(&plain, &[]).as_deref(),
        Some("v=DMARC1; p=none; rua=mailto:r@ours.example")
    );
    assert_eq!(
        advice_of(&plain, &["v=DMARC1; p=reject; rua=mailto:x@x.example"]).as_deref(),
        Some("v=DMARC1; p=reject; rua=mailto:x@x.example,mailto:r@ours.example")
    );
    let good = "v=DMARC1; p=reject; rua=mailto:r@ours.example";
    assert_eq!(advice_of(&plain, &[good]), None);
    let wanted = list(&["r@ours.example"], Some("v=DMARC1; p=reject"));
    assert_eq!(
        advice_of(&wanted, &["v=DMARC1; p=none"]).as_deref(),
        Some(good)
    );
    assert_eq!(
        advice::of_record(&seen(answer(&[])), &Expected::default()),
        None
    );
}

#[test]
fn advice_meets_demands_and_leaves_out_what_is_of_no_use() {
    let list = listed(Details {
        demands: Demands {
            policy: Some(Policy::Reject),
            subdomains: Some(Policy::Quarantine),
            alignment: Some(Alignment::Relaxed),
        },
        ..Details::default()
    });
    let of = |text: &str| {
        let expected = Expected::of(&list, list.iter().next().unwrap());
        advice::of_record(&seen(answer(&[text])), &expected)
    };
    assert_eq!(
        of("v=DMARC1; p=none; sp=none; np=none; adkim=s; t=y; pct=5; rf=afrf; ri=1; fo=1; x=y")
            .as_deref(),
        Some("v=DMARC1; p=reject; sp=quarantine")
    );
    assert_eq!(
        of("v=dmarc1; p=reject; rua=mailto:a@b.example!10m").as_deref(),
        Some("v=DMARC1; p=reject; rua=mailto:a@b.example")
    );
    for record in ["v=DMARC1; p=reject", "v=DMARC1; p=reject; sp=quarantine"] {
        assert_eq!(of(record), None, "{record}");
    }
}
