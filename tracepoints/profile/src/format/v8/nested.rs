//! Reads a tree of nested nodes that is too deep for the JSON reader, which allows 128 levels: a call takes two.
use super::schema::{File, Node};
use crate::json::{self, Members, begin, value_end};

/// A node without its children, and the place of its caller, which comes before it.
pub(super) type Deep = (Option<usize>, Node);

/// Reads the file without its tree, and the tree's nodes. `None` if there is no complete tree.
pub(super) fn read(text: &[u8]) -> Option<(File, Vec<Deep>)> {
    let (_, head) = Members::new(text, begin(text, 0)).find(|(name, _)| name == "head")?;
    let end = value_end(text, head)?;
    let rest = [&text[..head], b"null", &text[end..]].concat();
    let (file, _) = json::document(&rest).ok()?;
    Some((file, nodes(text.get(head..end)?)?))
}

/// A node of which some members are read.
struct Open {
    place: usize,
    /// The members other than its children, as JSON.
    members: Vec<u8>,
    /// Whether the current place is within its list of children.
    in_children: bool,
}

fn nodes(text: &[u8]) -> Option<Vec<Deep>> {
    let mut found: Vec<(Option<usize>, Option<Node>)> = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    let mut at = 0;
    loop {
        at = begin(text, at);
        let within = open.last_mut();
        match (*text.get(at)?, within) {
            (b',', _) => at += 1,
            (b'{', within) if within.as_ref().is_none_or(|node| node.in_children) => {
                let caller = within.map(|node| node.place);
                open.push(Open { place: found.len(), members: b"{".to_vec(), in_children: false });
                found.push((caller, None));
                at += 1;
            }
            (b']', Some(node)) if node.in_children => {
                node.in_children = false;
                at += 1;
            }
            (b'}', Some(node)) if !node.in_children => {
                node.members.push(b'}');
                let json = json::parse(&node.members)?;
                found[node.place].1 = serde_json::from_value(json).ok();
                open.pop();
                at += 1;
                if open.is_empty() {
                    break;
                }
            }
            // A child given by its id.
            (_, Some(node)) if node.in_children => at = value_end(text, at)?,
            (_, Some(node)) => at = member(text, at, node)?,
            _ => return None,
        }
    }
    found.into_iter().map(|(caller, node)| Some((caller, node?))).collect()
}

/// Reads one member of a node; returns its end, or the start of the first child.
fn member(text: &[u8], at: usize, node: &mut Open) -> Option<usize> {
    let name = value_end(text, at)?;
    let colon = begin(text, name);
    let value = begin(text, colon + 1);
    if text.get(colon) != Some(&b':') {
        return None;
    }
    if &text[at..name] == b"\"children\"" && text.get(value) == Some(&b'[') {
        node.in_children = true;
        return Some(value + 1);
    }
    let end = value_end(text, value)?;
    if node.members.len() > 1 {
        node.members.push(b',');
    }
    node.members.extend_from_slice(&text[at..end]);
    Some(end)
}
