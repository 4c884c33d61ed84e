//! The `log` facade, over Envoy's log, and the common bound of lines that requests cause.

use super::host;

struct Logger;

impl log::Log for Logger {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            host::log(record.level(), &record.args().to_string());
        }
    }

    fn flush(&self) {}
}

/// Makes `log` write to Envoy, and a panic leave word of its place (its text might hold data of a
/// request).
pub(crate) fn install() {
    static LOGGER: Logger = Logger;
    // A second plugin in the same VM finds the logger installed, which is as good.
    let _ = log::set_logger(&LOGGER);
    log::set_max_level(log::LevelFilter::Info);
    #[cfg(target_family = "wasm")]
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        host::log(
            log::Level::Error,
            &format!("panic at {}", place.unwrap_or_default()),
        );
    }));
}

/// Lines a second that requests may cause, on each worker.
const LINES_A_SECOND: u32 = 10;

/// Counts lines, so that a flood of refusals is no flood of lines.
#[derive(Debug, Default)]
pub(crate) struct RateBound {
    second: u64,
    lines: u32,
    withheld: u64,
}

impl RateBound {
    /// Whether a line may be written now, and how many were withheld since the last one.
    pub(crate) fn admit(&mut self, now: u64) -> Option<u64> {
        if now != self.second {
            self.second = now;
            self.lines = 0;
        }
        if self.lines >= LINES_A_SECOND {
            self.withheld = self.withheld.saturating_add(1);
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.withheld))
    }

    /// How many lines were withheld in a second that is over, of which no line has told since.
    pub(crate) fn settle(&mut self, now: u64) -> u64 {
        match now == self.second {
            true => 0,
            false => std::mem::take(&mut self.withheld),
        }
    }
}

/// What a line says of those that were withheld.
pub(crate) fn left_out(lines: u64) -> String {
    match lines {
        1 => "1 more line was left out".to_owned(),
        lines => format!("{lines} more lines were left out"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_lines_a_second_and_a_count_of_the_rest() {
        let mut bound = RateBound::default();
        for _ in 0..LINES_A_SECOND {
            assert_eq!(bound.admit(5), Some(0));
        }
        assert_eq!(bound.admit(5), None);
        assert_eq!(bound.admit(5), None);
        assert_eq!(bound.admit(6), Some(2));
        assert_eq!(bound.admit(6), Some(0));
    }

    #[test]
    fn what_no_line_tells_is_told_when_the_second_is_over() {
        let mut bound = RateBound::default();
        for _ in 0..LINES_A_SECOND + 3 {
            bound.admit(5);
        }
        assert_eq!(bound.settle(5), 0);
        assert_eq!(bound.settle(6), 3);
        assert_eq!(bound.settle(6), 0);
        assert_eq!(bound.admit(6), Some(0));
    }
}
