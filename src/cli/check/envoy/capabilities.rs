//! What the plugin must be allowed to call, and what Envoy must be allowed to call of it. Envoy says nothing of one that
//! is missing (`capability_restriction_config`).

/// Without it Envoy asks the plugin about no request, and lets all of them pass.
pub(super) const ASKED: &str = "proxy_on_request_headers";

/// All of them, as docs/operations.md lists them.
pub(super) const NEEDED: [&str; 36] = [
    ASKED,
    "proxy_on_request_body",
    "proxy_on_request_trailers",
    "proxy_on_response_headers",
    "proxy_on_http_call_response",
    "proxy_on_tick",
    "proxy_on_context_create",
    "proxy_on_configure",
    "proxy_on_delete",
    "proxy_on_memory_allocate",
    "proxy_add_header_map_value",
    "proxy_call_foreign_function",
    "proxy_continue_stream",
    "proxy_define_metric",
    "proxy_get_buffer_bytes",
    "proxy_get_current_time_nanoseconds",
    "proxy_get_header_map_pairs",
    "proxy_get_log_level",
    "proxy_get_property",
    "proxy_get_shared_data",
    "proxy_http_call",
    "proxy_increment_metric",
    "proxy_log",
    "proxy_record_metric",
    "proxy_remove_header_map_value",
    "proxy_replace_header_map_value",
    "proxy_send_local_response",
    "proxy_set_effective_context",
    "proxy_set_property",
    "proxy_set_shared_data",
    "proxy_set_tick_period_milliseconds",
    "environ_get",
    "environ_sizes_get",
    "fd_write",
    "proc_exit",
    "random_get",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_lists_them() {
        let page = include_str!("../../../../docs/operations.md");
        let chapter = page.split("### What the plugin may call").nth(1).unwrap();
        let block = chapter.split("```").nth(1).unwrap();
        let listed = block.lines().filter_map(|line| {
            let name = line.trim().strip_suffix(": {}")?;
            Some(name)
        });
        assert_eq!(listed.collect::<Vec<_>>(), NEEDED);
    }
}
