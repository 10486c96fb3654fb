//! Bytes of any kind: nothing panics.

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn no_bytes_make_it_panic(raw in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        for document in &found(&raw).documents {
            let _ = content(document);
        }
    }

    #[test]
    fn no_damage_to_a_mail_makes_it_panic(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        zipped in any::<bool>(),
    ) {
        let packed = if zipped { zip(&[("a.xml", XML), ("b.xml", XML)]) } else { gzip(XML) };
        let mut raw = packed.clone();
        for (at, byte) in &damage {
            let at = at.index(raw.len());
            raw[at] = *byte;
        }
        for document in &found(&raw).documents {
            let _ = content(document);
        }
        let mut mail = multipart(&[attachment("application/zip", &packed)]).into_bytes();
        for (at, byte) in &damage {
            let at = at.index(mail.len());
            mail[at] = *byte;
        }
        for document in &found(&mail).documents {
            let _ = content(document);
        }
    }
}
