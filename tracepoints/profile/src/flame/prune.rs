//! Removes frames that are too narrow to be visible, since drawing them costs most of the time.
use crate::Folded;

/// Minimum width of a frame as a percentage of the whole (inferno's `min_width`).
pub const MIN_PERCENT: f64 = 0.01;

struct Node<'a> {
    parent: usize,
    frame: &'a str,
    own: u64,
    total: u64,
}

/// Folded lines without frames that are too narrow; their counts go to their callers.
pub fn visible(folded: &Folded) -> Vec<String> {
    let mut nodes = tree(folded);
    for i in (1..nodes.len()).rev() {
        let (parent, total) = (nodes[i].parent, nodes[i].total);
        nodes[parent].total = nodes[parent].total.saturating_add(total);
    }
    let narrowest = nodes[0].total as f64 * MIN_PERCENT / 100.0;
    for i in (1..nodes.len()).rev() {
        // A frame at the root has no caller to take its count.
        if (nodes[i].total as f64) < narrowest && nodes[i].parent != 0 {
            let (parent, own) = (nodes[i].parent, std::mem::take(&mut nodes[i].own));
            nodes[parent].own = nodes[parent].own.saturating_add(own);
        }
    }
    // The library that draws adds up all counts.
    let mut room = u64::MAX;
    for node in &mut nodes {
        node.own = node.own.min(room);
        room -= node.own;
    }
    (1..nodes.len()).filter(|i| nodes[*i].own > 0).map(|i| line(&nodes, i)).collect()
}

fn line(nodes: &[Node<'_>], at: usize) -> String {
    let (mut path, mut i) = (Vec::new(), at);
    while i != 0 {
        path.push(nodes[i].frame);
        i = nodes[i].parent;
    }
    path.reverse();
    format!("{} {}", path.join(";"), nodes[at].own)
}

/// Builds the tree; node 0 is the root and callers precede callees. Stacks are sorted, so neighbours share
/// callers.
fn tree(folded: &Folded) -> Vec<Node<'_>> {
    let mut nodes = vec![Node { parent: 0, frame: "", own: 0, total: 0 }];
    // Node, and end in the text, of each frame of the previous stack.
    let mut open: Vec<(usize, usize)> = Vec::new();
    let mut before = "";
    for (stack, count) in folded.iter() {
        let shared = common(before.as_bytes(), stack.as_bytes());
        let ends = |end: usize| end <= shared && matches!(stack.as_bytes().get(end), None | Some(b';'));
        let depth = open.iter().take_while(|(_, end)| ends(*end)).count();
        open.truncate(depth);
        let mut from = open.last().map_or(0, |(_, end)| end + 1);
        while from <= stack.len() {
            let len = memchr::memchr(b';', &stack.as_bytes()[from..]).unwrap_or(stack.len() - from);
            let parent = open.last().map_or(0, |(node, _)| *node);
            nodes.push(Node { parent, frame: &stack[from..from + len], own: 0, total: 0 });
            open.push((nodes.len() - 1, from + len));
            from += len + 1;
        }
        if let Some((node, _)) = open.last() {
            nodes[*node].own = nodes[*node].own.saturating_add(count);
            nodes[*node].total = nodes[*node].own;
        }
        before = stack;
    }
    nodes
}

/// Returns the length of the common prefix of two texts in bytes.
fn common(a: &[u8], b: &[u8]) -> usize {
    let words = a.chunks_exact(16).zip(b.chunks_exact(16)).take_while(|(a, b)| a == b).count() * 16;
    words + a[words..].iter().zip(&b[words..]).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_narrow_frames_go_to_their_callers() {
        let folded = Folded::parse("a;b;c 1\na;b;d 50000\na;e;f 2\na1 49996\nz 1\n").unwrap();
        assert_eq!(visible(&folded), ["a1 49996", "a 2", "a;b 1", "a;b;d 50000", "z 1"]);
        let total: u64 =
            visible(&folded).iter().map(|l| l.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum();
        assert_eq!(total, folded.total());
        assert!(visible(&Folded::default()).is_empty());
    }

    #[test]
    fn stacks_with_equal_prefixes_stay_separate() {
        let text = "a;bc 300\na;bc;d 200\na;bcd 100\nab 7\nab;c 6\n";
        let folded = Folded::parse(text).unwrap();
        assert_eq!(visible(&folded).join("\n") + "\n", text);
    }
}
