//! Another reader of XML, to agree with ours.

use std::net::IpAddr;

use roxmltree::{Document, Node};

/// What a `record` says, as far as it is plain.
pub struct Said {
    /// `row/source_ip`.
    pub source_ip: Option<IpAddr>,
    /// `row/count`.
    pub count: Option<u64>,
}

/// The records of a report, whatever its namespace.
pub fn records(document: &Document<'_>) -> Vec<Said> {
    let root = document.root_element();
    let records = root.children().filter(|node| is(*node, "record"));
    let said = records.map(|record| Said {
        source_ip: text(record, "source_ip").and_then(|text| text.parse().ok()),
        count: text(record, "count").and_then(|text| text.parse().ok()),
    });
    said.collect()
}

/// The text of the first such element in the first `row`.
fn text(record: Node<'_, '_>, name: &str) -> Option<String> {
    let row = record.children().find(|node| is(*node, "row"))?;
    let leaf = row.children().find(|node| is(*node, name))?;
    let texts = leaf.children().filter_map(|node| {
        let is_text = node.is_text();
        node.text().filter(|_| is_text)
    });
    Some(texts.collect::<String>().trim().to_owned())
}

fn is(node: Node<'_, '_>, name: &str) -> bool {
    node.is_element() && node.tag_name().name() == name
}
