//! Latencies in buckets that are at most 1/64 wide: every quantile within 1.6 %, in a few KiB.

/// Buckets of each power of two.
const PARTS: u64 = 64;
const PARTS_BITS: u32 = PARTS.trailing_zeros();

/// Durations in nanoseconds.
#[derive(Default)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Histogram {
    pub(crate) fn record(&mut self, ns: u64) {
        let bucket = bucket(ns);
        if bucket >= self.counts.len() {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] += 1;
        self.total += 1;
        self.max = self.max.max(ns);
    }

    /// The least duration that this share of all don't exceed; 0 without any.
    pub(crate) fn quantile(&self, share: f64) -> u64 {
        let wanted = (self.total as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted.max(1) {
                return upper(bucket).min(self.max);
            }
        }
        self.max
    }

    pub(crate) fn max(&self) -> u64 {
        self.max
    }
}

fn bucket(ns: u64) -> usize {
    if ns < PARTS {
        return ns as usize;
    }
    let shift = ns.ilog2() - PARTS_BITS;
    (u64::from(shift) * PARTS + (ns >> shift)) as usize
}

/// The largest duration of a bucket.
fn upper(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < 2 * PARTS {
        return bucket;
    }
    let shift = bucket / PARTS - 1;
    ((bucket % PARTS + PARTS + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bucket_ends_where_the_next_one_begins() {
        for at in (0..4_096).map(|bucket| upper(bucket) + 1).take_while(|at| *at < 1 << 60) {
            assert_eq!(bucket(at), bucket(at - 1) + 1, "{at}");
        }
    }

    #[test]
    fn quantiles_are_close() {
        let mut histogram = Histogram::default();
        (1..=100_000).for_each(|us| histogram.record(us * 1_000));
        for (share, exact) in [(0.5, 50_000_000.0), (0.99, 99_000_000.0), (0.999, 99_900_000.0)] {
            let off = histogram.quantile(share) as f64 / exact;
            assert!((1.0..1.017).contains(&off), "{share}: {off}");
        }
        assert_eq!(histogram.quantile(1.0), 100_000_000);
        assert_eq!(Histogram::default().quantile(0.5), 0);
    }
}
