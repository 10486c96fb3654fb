//! What a mail may cost, and what becomes of one that would cost more.

use std::fmt::Write as _;

use super::*;

#[test]
fn a_bomb_ends_at_the_bound() {
    let bounds = Bounds {
        inflated: 512 << 10,
        inflated_total: 1 << 20,
        ..Bounds::default()
    };
    let bomb = [XML, &b" ".repeat(2 << 20)].concat();
    let bomb = gzip(&bomb);
    let unpacked = documents(&bomb, &bounds);
    assert_eq!(content(&unpacked.documents[0]), Err(Rejection::TooLarge));

    // The total holds over members, and reading one of them twice costs it once, even after
    // another has found too little left.
    let part = [XML, &b" ".repeat(450 << 10)].concat();
    let raw = zip(&[("a.xml", &part), ("b.xml", &part), ("c.xml", &part)]);
    let unpacked = documents(&raw, &bounds);
    let outcomes: Vec<_> = [0, 0, 1, 1, 0, 2, 0, 2]
        .map(|at: usize| content(&unpacked.documents[at]).map(|bytes| bytes.len()))
        .into();
    assert_eq!(outcomes[..5], [Ok(part.len()); 5]);
    let too_large = Err(Rejection::TooLarge);
    assert_eq!(outcomes[5..], [too_large, Ok(part.len()), too_large]);
}

#[test]
fn a_short_mail_may_not_inflate_to_as_much_as_a_long_one() {
    let most = limits::MAX_INFLATED;
    for (length, expected) in [
        (1, 1 << 20),
        (8 << 10, 2 << 20),
        ((128 << 10) - 1, (32 << 20) - 256),
        (128 << 10, most),
    ] {
        assert_eq!(inflatable(length, most), expected);
        assert_eq!(inflatable(length, 5), 5, "the operator's limit holds too");
    }
    for (blanks, expected) in [(0, Ok(1 << 20)), (1, Err(Rejection::TooLarge))] {
        let raw = gzip(&[XML, &b" ".repeat((1 << 20) - XML.len() + blanks)].concat());
        let length = content(&found(&raw).documents[0]).map(|bytes| bytes.len());
        assert_eq!(length, expected);
    }
}

#[test]
fn what_lies_between_two_containers_is_bounded_too() {
    let bounds = Bounds {
        inflated: 64 << 10,
        ..Bounds::default()
    };
    // Members of nothing, and empty blocks: megabytes of gzip from which no byte comes out.
    let members = gzip(b"").repeat(100_000);
    let mut blocks = gzip(b"")[..10].to_vec();
    blocks.extend([0, 0, 0, 0xff, 0xff].repeat(500_000));
    for inner in [&members, &blocks] {
        let outer = gzip(inner);
        let found = documents(&outer, &bounds);
        let too_much = ("1".to_owned(), Rejection::TooLarge);
        assert_eq!((found.documents.len(), found.rejected), (0, vec![too_much]));
    }
    assert_eq!(rejected(&members), [Rejection::TooLarge]);
}

#[test]
fn zips_in_other_containers_share_what_may_be_held_in_memory() {
    // What is short is held anyway, and inflated once.
    let next = |state: &u32| Some(state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    let noise: Vec<u8> = std::iter::successors(Some(7), next)
        .map(|state| state.to_be_bytes()[0])
        .take(40_000)
        .collect();
    let inner = zip(&[("a.xml", XML), ("b.txt", &noise)]);
    assert!(inner.len() > limits::READ_CHUNK, "{}", inner.len());
    let bounds = Bounds {
        held: 2 * inner.len(),
        ..Bounds::default()
    };
    let outer = zip(&[("1.zip", &inner), ("2.zip", &inner), ("3.zip", &inner)]);
    let found = documents(&outer, &bounds);
    assert_eq!(found.documents.len(), 2);
    assert_eq!(found.held, bounds.held);
    let third = ("1/3".to_owned(), Rejection::TooLarge);
    assert_eq!(found.rejected, [third]);
}

#[test]
fn too_many_members_or_members_of_one_name_are_refused() {
    let names: Vec<_> = (0..101).map(|number| format!("{number}.xml")).collect();
    let members: Vec<_> = names.iter().map(|name| (&**name, XML)).collect();
    assert_eq!(rejected(&zip(&members)), [Rejection::TooLarge]);
    let mut raw = zip(&[("a.xml", XML), ("b.xml", XML)]);
    while let Some(at) = raw.windows(5).position(|name| name == b"b.xml") {
        raw[at] = b'a';
    }
    assert_eq!(rejected(&raw), [Rejection::BadContainer]);
}

/// The default stack of a thread, in which the pipeline runs.
fn on_small_stack(raw: Vec<u8>) -> Vec<Rejection> {
    std::thread::Builder::new()
        .stack_size(2 << 20)
        .spawn(move || rejected(&raw))
        .unwrap()
        .join()
        .unwrap()
}

#[test]
fn nesting_without_end_is_refused_on_a_small_stack() {
    let flat = "Content-Type: message/rfc822\r\n\r\n".repeat(100_000);
    assert_eq!(
        on_small_stack(flat.into_bytes()),
        [Rejection::MimeTooComplex]
    );
    let mut parts = String::new();
    for depth in 0..10_000 {
        write!(
            parts,
            "Content-Type: multipart/mixed; boundary=b{depth}\r\n\r\n--b{depth}\r\n"
        )
        .unwrap();
    }
    assert_eq!(
        on_small_stack(parts.into_bytes()),
        [Rejection::MimeTooComplex]
    );
    let mut encoded = "Content-Type: message/rfc822\r\n\r\n".repeat(20_000);
    for _ in 0..3 {
        encoded = attachment("message/rfc822", encoded.as_bytes());
    }
    assert_eq!(
        on_small_stack(encoded.into_bytes()),
        [Rejection::MimeTooComplex]
    );
    // Ten levels are no more than the bound.
    let most = "Content-Type: message/rfc822\r\n\r\n".repeat(10) + "\r\n<feedback/>";
    assert_eq!(found(most.as_bytes()).documents.len(), 1);
}

#[test]
fn parts_and_headers_are_bounded() {
    let parts = format!(
        "Content-Type: multipart/mixed; boundary=b\n\n{}",
        "--b\n\n".repeat(100_000)
    );
    assert_eq!(rejected(parts.as_bytes()), [Rejection::MimeTooComplex]);
    let headers = format!("{}\n<feedback/>", "a:\n".repeat(100_000));
    assert_eq!(rejected(headers.as_bytes()), [Rejection::MimeTooComplex]);
    let long = format!(
        "Content-Type: text/xml;\n{}\n\n<feedback/>",
        " a*0=x;\n".repeat(20_000)
    );
    assert_eq!(rejected(long.as_bytes()), [Rejection::MimeTooComplex]);
    let many = vec![attachment("text/xml", XML); 17];
    assert_eq!(all(multipart(&many[1..]).as_bytes()).0.len(), 16);
    let (documents, rejected) = all(multipart(&many).as_bytes());
    let seventeenth = ("17".to_owned(), Rejection::TooLarge);
    assert_eq!((documents.len(), rejected), (16, vec![seventeenth]));
}
