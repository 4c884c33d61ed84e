//! Counts what happens, and hands it on to Envoy's stats.
//!
//! A count is made here, and handed on at the next tick, of which there is one every second, traffic or not:
//! so a request pays for no host call.

use std::cell::RefCell;
use std::rc::Rc;

use rustc_hash::FxHashMap;

use super::host;
use crate::metrics::{Kind, Names, Series};

/// The series of one configuration, as one worker sees them.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) names: Rc<Names>,
    series: RefCell<FxHashMap<Series, Slot>>,
}

#[derive(Debug, Default)]
struct Slot {
    /// The host's number; `None` where it didn't give one yet.
    id: Option<u32>,
    /// What of a counter wasn't handed on yet; what we did to a gauge.
    value: u64,
}

impl Metrics {
    /// Defines all series that the configuration can lead to, so that they begin at 0.
    pub(crate) fn new(names: Rc<Names>) -> Self {
        let define = |series: &Series| {
            let id = define(&names, *series);
            (*series, Slot { id, value: 0 })
        };
        let series = names.expected().iter().map(define).collect();
        Self {
            series: RefCell::new(series),
            names,
        }
    }

    /// Adds one to a counter.
    pub(crate) fn count(&self, series: Series) {
        self.add(series, 1);
    }

    /// Adds to a counter.
    pub(crate) fn add(&self, series: Series, count: u64) {
        let mut all = self.series.borrow_mut();
        let slot = all.entry(series).or_default();
        slot.value = slot.value.saturating_add(count);
    }

    /// Sets a gauge.
    pub(crate) fn set(&self, series: Series, value: u64) {
        let mut all = self.series.borrow_mut();
        let slot = all.entry(series).or_default();
        if slot.value != value {
            slot.value = value;
            slot.record(&self.names, series, value);
        }
    }

    /// Sets our share of a gauge that is the sum of what all workers have.
    pub(crate) fn share(&self, series: Series, value: u64) {
        let mut all = self.series.borrow_mut();
        let slot = all.entry(series).or_default();
        let change = value.cast_signed().wrapping_sub(slot.value.cast_signed());
        if change != 0
            && let Some(id) = slot.id(&self.names, series)
            && host::increment_metric(id, change).is_ok()
        {
            slot.value = value;
        }
    }

    /// Adds a value to a histogram.
    pub(crate) fn observe(&self, series: Series, value: u64) {
        let mut all = self.series.borrow_mut();
        let slot = all.entry(series).or_default();
        slot.record(&self.names, series, value);
    }

    /// Hands on what was counted.
    pub(crate) fn flush(&self) {
        let mut all = self.series.borrow_mut();
        let counted = all.iter_mut().filter(|(_, slot)| slot.value > 0);
        for (series, slot) in counted.filter(|(series, _)| series.kind() == Kind::Counter) {
            // What can't be handed on now is at the next tick.
            if let Some(id) = slot.id(&self.names, *series)
                && host::increment_metric(id, slot.value.cast_signed()).is_ok()
            {
                slot.value = 0;
            }
        }
    }
}

impl Slot {
    fn id(&mut self, names: &Names, series: Series) -> Option<u32> {
        self.id = self.id.or_else(|| define(names, series));
        self.id
    }

    fn record(&mut self, names: &Names, series: Series, value: u64) {
        if let Some(id) = self.id(names, series) {
            // Nothing depends on it but a chart.
            let _ = host::record_metric(id, value);
        }
    }
}

fn define(names: &Names, series: Series) -> Option<u32> {
    host::define_metric(series.kind(), &names.name(series)).ok()
}
