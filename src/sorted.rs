//! Sorting in little code.
//!
//! The standard library's sort takes 7 kB of the module for each type that it sorts, so here one
//! copy of it sorts places instead, and swaps. Its maps sort what they are collected from: they are extended.

use std::cmp::Ordering;

/// Sorts, and keeps the order of equals.
pub(crate) fn by<T>(items: &mut [T], compare: impl Fn(&T, &T) -> Ordering) {
    // As most are.
    if items.len() < 2 {
        return;
    }
    let mut places = places(items.len(), &|one, other| {
        let items = items.get(one).zip(items.get(other));
        items.map_or(Ordering::Equal, |(one, other)| compare(one, other))
    });
    arrange(&mut places, &mut |one, other| items.swap(one, other));
}

/// Where each of so many items belongs.
#[inline(never)]
fn places(count: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_unstable_by(|one, other| compare(*one, *other).then(one.cmp(other)));
    let mut places = vec![0; count];
    for (place, item) in order.into_iter().enumerate() {
        if let Some(own) = places.get_mut(item) {
            *own = place;
        }
    }
    places
}

/// Swaps items until each is where it belongs: with every swap one more is.
#[inline(never)]
fn arrange(places: &mut [usize], swap: &mut dyn FnMut(usize, usize)) {
    for here in 0..places.len() {
        while let Some(place) = places.get(here).copied().filter(|place| *place != here) {
            swap(here, place);
            places.swap(here, place);
        }
    }
}

/// What a map is collected from, without sorting it first.
pub(crate) fn collected<M: Default + Extend<T>, T>(items: impl IntoIterator<Item = T>) -> M {
    let mut map = M::default();
    map.extend(items);
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_stay_in_order() {
        let mut items: Vec<(u32, u32)> = (0..1000).map(|n| (n * 7919 % 10, n)).collect();
        let mut expected = items.clone();
        expected.sort();
        by(&mut items, |one, other| one.0.cmp(&other.0));
        assert_eq!(items, expected);
    }
}
