//! How many trials pay side by side on one device, from the throughput that a run measures. Pure: the caller has the clock.
//!
//! Small models leave most of a GPU idle: between their kernels it waits for the processor. How much is idle cannot be asked, but
//! it shows: as long as it is, another trial raises the throughput of the device.

use std::collections::BTreeMap;

use crate::trial::Device;

/// Most trials at a time on one device, if the user sets no number.
pub const MAX_PER_DEVICE: usize = 8;
/// Seconds for which a number of trials must train before their throughput counts.
const MEASURED: f64 = 5.0;
/// By which factor another trial must raise the throughput, to stay.
const PAYS: f64 = 1.05;

/// The work of the trials on each device, by the number of trials that trained there at the same time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Occupancy {
    done: BTreeMap<(Device, usize), Work>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Work {
    operations: f64,
    seconds: f64,
}

impl Occupancy {
    /// Adds what so many trials on a device have done together: operations, or anything in proportion to them.
    pub fn observe(&mut self, device: Device, trials: usize, operations: f64, seconds: f64) {
        let work = self.done.entry((device, trials)).or_default();
        work.operations += operations;
        work.seconds += seconds;
    }

    /// How many trials may run at the same time on a device: one more than the most that have paid, so that it is measured too.
    #[must_use]
    pub fn limit(&self, device: Device) -> usize {
        let mut before = 0.0;
        for trials in 1..MAX_PER_DEVICE {
            match self.throughput(device, trials) {
                None => return trials,
                Some(rate) if rate < PAYS * before => return trials - 1,
                Some(rate) => before = rate,
            }
        }
        MAX_PER_DEVICE
    }

    /// Operations a second. None: not measured for long enough.
    fn throughput(&self, device: Device, trials: usize) -> Option<f64> {
        let work = self.done.get(&(device, trials)).filter(|work| work.seconds >= MEASURED)?;
        Some(work.operations / work.seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The limit after one trial has done `rates[0]` operations a second, two together `rates[1]`, and so on.
    fn limit(rates: &[f64]) -> usize {
        let mut occupancy = Occupancy::default();
        for (rate, trials) in rates.iter().zip(1..) {
            occupancy.observe(Device::Cuda(0), trials, rate * 10.0, 10.0);
        }
        occupancy.limit(Device::Cuda(0))
    }

    #[test]
    fn trials_are_added_as_long_as_they_pay() {
        assert_eq!(limit(&[]), 1);
        assert_eq!(limit(&[100.0]), 2);
        assert_eq!(limit(&[100.0, 190.0]), 3);
        assert_eq!(limit(&[100.0, 190.0, 250.0, 255.0]), 3);
        assert_eq!(limit(&[100.0, 101.0]), 1);
        assert_eq!(limit(&[100.0, 60.0, 900.0]), 1);
        assert_eq!(limit(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]), MAX_PER_DEVICE);
    }

    #[test]
    fn a_short_time_says_nothing_and_devices_are_apart() {
        let mut occupancy = Occupancy::default();
        occupancy.observe(Device::Cuda(0), 1, 400.0, 4.0);
        assert_eq!(occupancy.limit(Device::Cuda(0)), 1);
        occupancy.observe(Device::Cuda(0), 1, 100.0, 1.0);
        assert_eq!(occupancy.limit(Device::Cuda(0)), 2);
        assert_eq!(occupancy.limit(Device::Cuda(1)), 1);
    }
}
