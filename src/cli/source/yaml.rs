//! YAML, in a time that its length bounds.

use serde_saphyr::{MessageFormatter as _, UserMessageFormatter};

use super::{Node, Unreadable, diagnosis, offset};

/// Some kilobytes with more merge keys than this can keep a machine busy for hours; what Kubernetes writes has
/// none.
const MERGE_KEYS: usize = 64;
/// As deep as JSON may be.
const DEPTH: usize = 128;
/// What anchors and aliases may stand for, in parts of a document.
const REPLAYED: usize = 1_000_000;

pub(super) fn documents(text: &str) -> Result<Vec<Node>, Unreadable> {
    // What isn't bounded here is by the length of the text.
    let budget = serde_saphyr::budget! {
        enforce_alias_anchor_ratio: false,
        flow_nesting_limit: DEPTH,
        max_aliases: usize::MAX,
        max_anchors: usize::MAX,
        max_depth: DEPTH,
        max_documents: usize::MAX,
        max_events: usize::MAX,
        max_merge_keys: MERGE_KEYS,
        max_nodes: usize::MAX,
        max_recorded_anchor_events: REPLAYED,
        max_total_scalar_bytes: usize::MAX,
    };
    let options = serde_saphyr::options! {
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
