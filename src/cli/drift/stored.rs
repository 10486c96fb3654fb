//! What the daemon has found beside what a lookup shows now: in reports, and in that there are none.

use super::Shown;
use crate::{
    domain::Domain,
    drift::advice,
    store::{Reader, StoreError, published::OpenFinding},
    terms::FindingSource,
};

/// Adds the findings about `domain` that no lookup shows, and says of the others since when they
/// are open.
pub fn add(reader: &Reader, domain: &Domain, shown: &mut Vec<Shown>) -> Result<(), StoreError> {
    for open in reader.open_findings(domain)? {
        let OpenFinding {
            finding,
            source,
            first_seen,
            last_seen,
        } = open;
        let times = (Some(first_seen), Some(last_seen));
        if source != FindingSource::Dns {
            let next_step = advice::next_step(finding.kind);
            let (first_seen, last_seen) = times;
            shown.push(Shown {
                finding,
                next_step,
                first_seen,
                last_seen,
            });
        } else if let Some(known) = shown.iter_mut().find(|it| it.finding.is_same(&finding)) {
            (known.first_seen, known.last_seen) = times;
        }
    }
    Ok(())
}
