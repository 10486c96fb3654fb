//! Settles what is silent about a domain: what the store knows -> [`silence`] -> findings.

use super::{
    expected::Expected,
    silence::{self, Heard, Open, Watched},
};
use crate::{
    config::Config,
    dns::{
        Period,
        record::{self, Selection},
    },
    domain::Domain,
    store::{
        StoreError,
        published::{Changes, Settling},
    },
    terms::FindingSource,
};

/// Opens and closes the findings of silence about a domain that was just looked up. Where the record
/// does not name us none is open: that is a finding of its own.
pub fn settle(
    settling: &Settling<'_>,
    config: &Config,
    domain: &Domain,
    history: &[Period],
    gap: i64,
    at: i64,
) -> Result<Changes, StoreError> {
    let expected = config.domains.get(domain);
    let expected = expected.map_or_else(Expected::default, |e| Expected::of(&config.domains, e));
    let names_us = |period: &Period| match record::select(&period.texts) {
        Selection::One(record) => record.rua.iter().any(|uri| expected.is_ours(uri)),
        Selection::None { .. } | Selection::Several(_) => false,
    };
    let findings = match silence::named_since(history, names_us, gap, at) {
        Some(since) => {
            let patience = config.reporters.silent_after;
            let watched = Watched {
                since,
                now: at,
                patience: patience.map(|after| i64::try_from(after.as_secs()).unwrap_or(i64::MAX)),
            };
            let (heard, open) = known(settling, config, domain, at)?;
            silence::silence(domain, &heard, watched, &open)
        }
        None => Vec::new(),
    };
    settling.set_findings(domain, FindingSource::Silence, &findings, &[], at)
}

/// What came lately, and what is open.
fn known(
    settling: &Settling<'_>,
    config: &Config,
    domain: &Domain,
    at: i64,
) -> Result<(Vec<Heard>, Vec<Open>), StoreError> {
    let since = at.saturating_sub(silence::LOOKED_BACK);
    let heard = settling.heard(domain, since)?;
    let open = settling.open_findings(domain)?;
    let known = &config.reporters.known;
    let heard = heard.iter().map(|heard| Heard {
        reporter: known.name_of(&heard.org_name, &heard.email),
        at: heard.at,
    });
    let open = open.into_iter().map(|open| Open {
        kind: open.finding.kind,
        subject: open.finding.subject,
        since: open.first_seen,
    });
    Ok((heard.collect(), open.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{address::Recipient, domains::Details},
        dns::Answer,
        drift::fixtures,
        store::Store,
        store::fixtures::{Place, arrival, example, plain},
        terms::FindingKind,
    };

    const DAY: i64 = 86_400;
    const START: i64 = 19_700 * DAY;

    fn config() -> Config {
        fixtures::config(Details {
            rua: vec![Recipient::parse(b"rua@reports.example").unwrap()],
            ..Details::default()
        })
    }

    /// A report that comes on this day.
    fn hear(store: &mut Store, day: i64) {
        let version = u8::try_from(day).unwrap();
        let (mut report, rows) = plain(&format!("r{day}"), version);
        report.metadata.org_name = "google.com".into();
        report.metadata.begin = START + (day - 1) * DAY;
        let mut arrival = arrival(day);
        arrival.arrived = START + day * DAY;
        let kept = crate::store::fixtures::kept(&rows);
        let added = store.transaction(|batch| batch.add(&arrival, &example(), &report, kept));
        added.unwrap();
    }

    #[test]
    fn a_domain_that_falls_silent_is_found_until_a_report_comes() {
        let place = Place::new();
        let mut store = place.store;
        let record = b"v=DMARC1; p=none; rua=mailto:rua@reports.example".to_vec();
        let answer = Answer::found(vec![record], 60);
        for day in 1..=60 {
            if day <= 50 {
                hear(&mut store, day);
            }
            let at = START + day * DAY;
            store.record_answer(&example(), &answer, at, DAY).unwrap();
        }
        let settle = |store: &mut Store, day| {
            let history = store.history(&example()).unwrap();
            let at = START + day * DAY;
            let changes = store
                .settle(|look| settle(look, &config(), &example(), &history, DAY, at))
                .unwrap();
            let kinds = |findings: Vec<crate::store::published::OpenFinding>| {
                let kinds = findings.into_iter().map(|open| open.finding.kind);
                kinds.collect::<Vec<_>>()
            };
            (kinds(changes.opened), kinds(changes.closed))
        };
        let stopped = || vec![FindingKind::ReportsStopped];
        assert_eq!(settle(&mut store, 53), (vec![], vec![]));
        assert_eq!(settle(&mut store, 54), (stopped(), vec![]));
        assert_eq!(settle(&mut store, 60), (vec![], vec![]));
        hear(&mut store, 61);
        assert_eq!(settle(&mut store, 61), (vec![], stopped()));
    }
}
