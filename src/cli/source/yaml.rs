//! YAML, in a time that its length bounds.

use serde_saphyr::{MessageFormatter as _, UserMessageFormatter};

use super::{Node, Unreadable, diagnosis, offset};

/// What they take grows with the fourth power of their number: some kilobytes with more could keep a machine busy for
/// hours. What Kubernetes writes has none.
const MERGE_KEYS: usize = 40;
/// Of a text within a document, of which there can be many.
const MERGE_KEYS_WITHIN: usize = 8;
/// As deep as JSON may be.
const DEPTH: usize = 128;
/// What anchors and aliases may stand for, in parts of a document: of any, for each of its bytes, and at most.
const REPLAYED: usize = 1_000;
const REPLAYED_A_BYTE: usize = 20;
const MOST_REPLAYED: usize = 1_000_000;

/// The documents of a file.
pub(super) fn documents(text: &str) -> Result<Vec<Node>, Unreadable> {
    read(text, MERGE_KEYS)
}

/// Those of a text within a document.
pub(super) fn within(text: &str) -> Result<Vec<Node>, Unreadable> {
    read(text, MERGE_KEYS_WITHIN)
}

fn read(text: &str, merge_keys: usize) -> Result<Vec<Node>, Unreadable> {
    let replayed = text.len().saturating_mul(REPLAYED_A_BYTE) + REPLAYED;
    let replayed = replayed.min(MOST_REPLAYED);
    // What isn't bounded here is by the length of the text.
    let budget = serde_saphyr::budget! {
        enforce_alias_anchor_ratio: false,
        flow_nesting_limit: DEPTH,
        max_aliases: usize::MAX,
        max_anchors: usize::MAX,
        max_depth: DEPTH,
        max_documents: usize::MAX,
        max_events: usize::MAX,
        max_merge_keys: merge_keys,
        max_nodes: usize::MAX,
        max_recorded_anchor_events: replayed,
        max_total_scalar_bytes: usize::MAX,
    };
    let options = serde_saphyr::options! {
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: replayed },
        budget: budget,
        with_snippet: false,
    };
    serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
        let (line, column) = error
            .location()
            .map_or((1, 1), |at| (at.line(), at.column()));
        let message = UserMessageFormatter.format_message(&error);
        diagnosis::of_yaml(text, offset(text, line, column), &message)
    })
}
