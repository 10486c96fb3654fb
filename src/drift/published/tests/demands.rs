//! What is demanded at least, of a record of its own and of one from above.

use super::*;

#[test]
fn demands_are_met_by_whatever_asks_for_more() {
    use FindingKind as F;
    let list = listed(Details {
        demands: Demands {
            policy: Some(Policy::Quarantine),
            subdomains: Some(Policy::Quarantine),
            alignment: Some(Alignment::Relaxed),
        },
        ..Details::default()
    });
    for (record, expected) in [
        ("p=quarantine", vec![]),
        ("p=reject", vec![]),
        ("p=none; sp=reject", vec![F::PolicyWeaker]),
        (
            "p=reject; sp=none; np=reject",
            vec![F::SubdomainPolicyMismatch],
        ),
        ("p=reject; np=none", vec![F::SubdomainPolicyMismatch]),
        ("p=reject; aspf=s", vec![F::AlignmentChanged]),
    ] {
        assert_eq!(
            findings(&list, &[&format!("v=DMARC1; {record}")]),
            expected,
            "{record}"
        );
    }
}

#[test]
fn a_record_from_above_meets_demands_and_is_not_the_wanted_one() {
    use FindingKind as F;
    let above = "v=DMARC1; p=reject; sp=quarantine; rua=mailto:r@ours.example";
    let inherited = walked(
        &Domain::parse("sub.example.com").unwrap(),
        vec![
            Answer::absent(DnsOutcome::NxDomain, 60),
            answer(&[above]),
            answer(&["x"]),
        ],
    );
    let with = |details: Details| {
        let list = listed(details);
        kinds(judged(&list, &inherited))
    };
    let demands = |policy| Details {
        demands: Demands {
            policy: Some(policy),
            ..Demands::default()
        },
        rua: addresses(&["r@ours.example"]),
        ..Details::default()
    };
    assert_eq!(with(demands(Policy::Quarantine)), []);
    assert_eq!(with(demands(Policy::Reject)), [F::PolicyWeaker]);
    let other = Details {
        rua: addresses(&["other@ours.example"]),
        ..Details::default()
    };
    assert_eq!(with(other), [F::RuaNotOurs]);
    let wanted = Details {
        wanted: Some(above.to_owned()),
        ..Details::default()
    };
    assert_eq!(with(wanted), [F::RecordInherited]);
}

#[test]
fn names_below_have_the_policy_of_the_organization_whatever_the_domain_says() {
    use FindingKind as F;
    let list = listed(Details {
        demands: Demands {
            subdomains: Some(Policy::Reject),
            ..Demands::default()
        },
        ..Details::default()
    });
    let sub = Domain::parse("sub.example.com").unwrap();
    let at = |own: &str, above: Answer| judged(&list, &walked(&sub, vec![answer(&[own]), above]));
    let reject = "v=DMARC1; p=reject";
    let none = "v=DMARC1; p=none; psd=n";
    let found = at(reject, answer(&[none])).findings;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].kind, F::SubdomainPolicyMismatch);
    assert_eq!(
        found[0].detail,
        "sp: at least reject is wanted, is none; np: at least reject is wanted, is none; \
         receivers use the record of example.com"
    );
    // No text at the domain itself mends it.
    assert_eq!(found[0].publish, None);
    let good = "v=DMARC1; p=none; sp=reject; psd=n";
    assert_eq!(kinds(at("v=DMARC1; p=none", answer(&[good]))), []);
    assert_eq!(kinds(at("v=DMARC1; p=reject; psd=n", answer(&[none]))), []);
    let unknown = at("v=DMARC1; p=none", Answer::unknown(DnsTrouble::Timeout));
    assert_eq!(unknown.findings, []);
    assert!(unknown.undecided.contains(&F::SubdomainPolicyMismatch));
}

#[test]
fn a_policy_from_above_counts_as_t_and_pct_leave_it() {
    use FindingKind as F;
    let sub = Domain::parse("sub.example.com").unwrap();
    let with = |policy, own: &[&str], above: &str| {
        let own = match own {
            [] => Answer::absent(DnsOutcome::NxDomain, 60),
            texts => answer(texts),
        };
        let demands = Demands {
            policy,
            subdomains: policy,
            alignment: None,
        };
        let list = listed(Details {
            demands,
            ..Details::default()
        });
        let above = answer(&[&format!("v=DMARC1; p=reject; psd=n; {above}")]);
        judged(&list, &walked(&sub, vec![own, above]))
    };
    let short = vec![F::PolicyWeaker, F::SubdomainPolicyMismatch];
    for above in ["t=y; pct=0", "t=y", "pct=50"] {
        assert_eq!(kinds(with(Some(Policy::Reject), &[], above)), short);
        assert_eq!(kinds(with(Some(Policy::Quarantine), &[], above)), []);
        let own = &["v=DMARC1; p=reject"];
        let below = vec![F::SubdomainPolicyMismatch];
        assert_eq!(kinds(with(Some(Policy::Reject), own, above)), below);
    }
    assert_eq!(kinds(with(Some(Policy::Reject), &[], "t=n; pct=100")), []);
    let found = with(Some(Policy::Reject), &[], "t=y").findings;
    assert_eq!(
        found[0].detail,
        "p: at least reject is wanted, is quarantine; receivers use the record of example.com, \
         where t or pct lowers the policy"
    );
    // Of its own record t is a finding by itself.
    let own = with(
        Some(Policy::Reject),
        &["v=DMARC1; p=reject; t=y; psd=n"],
        "",
    );
    assert_eq!(kinds(own), [F::TestingLeftOn]);
}

#[test]
fn the_place_in_the_organization_is_looked_at_both_ways() {
    use FindingKind as F;
    let suffixes = SuffixList::parse("com\n");
    let sub = Domain::parse("sub.example.com").unwrap();
    let at = |own: &str, above: &str| {
        let answers = [own, above, "x"].map(|text| answer(&[text]));
        let seen = walked(&sub, answers.to_vec());
        kinds(judge(&seen, &Expected::default(), Some(&suffixes)))
    };
    let plain = "v=DMARC1; p=none";
    assert_eq!(at(plain, plain), []);
    assert_eq!(
        at("v=DMARC1; p=none; sp=reject", plain),
        [F::SpNpIneffective]
    );
    assert_eq!(at("v=DMARC1; p=none; psd=n", plain), [F::PsdUnexpected]);
    assert_eq!(at(plain, "x"), [F::DiscoveryDivergence]);
    assert_eq!(at("x", "x"), [F::RecordMissing]);
    assert_eq!(at("x", plain), []);
}
