//! Samples of stacks, added up: what ran, what waited, and what whoever held RTNL did meanwhile. Nothing here asks the kernel.

use std::collections::{BTreeMap, HashMap, VecDeque};

use ebpf_loader::{
    RequestEvent, SAMPLE_HOLDS_RTNL, SAMPLE_OFF_CPU, SAMPLE_ON_CPU, SAMPLE_RTNL_WAIT, STACK_LOST, SampleEvent,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a thread did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Doing {
    /// Running.
    OnCpu,
    /// Running, but only to see whether RTNL is free again: part of [`Doing::RtnlWait`], too.
    Spinning,
    /// Off the CPU in a request, but not for RTNL.
    OffCpu,
    /// Waiting for RTNL in a request.
    RtnlWait,
}

/// Where it did that, and who.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stack {
    /// What.
    pub doing: Doing,
    /// The process, as its id in the initial PID namespace.
    pub process: u32,
    /// The thread's name: see [`Gathered::name`].
    pub comm: u32,
    /// The number of the kernel's stack; negative: there is none.
    pub kernel: i32,
    /// The number of the stack in user mode, likewise.
    pub user: i32,
}

/// How often and how long.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Weight {
    /// Samples.
    pub samples: u64,
    /// The time for which they stand; ns.
    pub nanos: u64,
}

/// Running, for whatever reason.
pub const ON_CPU: [Doing; 2] = [Doing::OnCpu, Doing::Spinning];

impl Weight {
    fn add(&mut self, other: Self) {
        self.samples += other.samples;
        self.nanos += other.nanos;
    }
}

/// How long the request took in which a sample was taken: the number of a step, counted from [`Gathered::new`]'s unit.
type Step = i16;

/// Steps in an octave: each is 4 % above the one before.
const STEPS: f64 = 16.0;

/// In no request.
const OUTSIDE: Step = Step::MIN;

/// Samples of holders of RTNL that wait for somebody to have waited for them: far more than a second's.
const MOST_HELD: usize = 1 << 16;

/// Threads whose request has not ended yet, at most: one that dies within its request leaves its samples behind.
const MOST_OPEN: usize = 1 << 14;

/// See the module.
pub struct Gathered {
    /// What a timer's sample stands for; ns.
    period_ns: u64,
    unit_ns: u64,
    names: Vec<String>,
    numbers: HashMap<String, u32>,
    /// By thread: the request's begin, and its samples.
    open: HashMap<u32, (u64, Vec<SampleEvent>)>,
    stacks: HashMap<(Stack, Step), Weight>,
    requests: BTreeMap<Step, u64>,
    /// The oldest first.
    held: VecDeque<Held>,
    holders: HashMap<Stack, Weight>,
}

/// Somebody held RTNL.
struct Held {
    begin_ns: u64,
    end_ns: u64,
    stack: Stack,
    nanos: u64,
    waited_for: bool,
}

/// Requests that took at least some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slow {
    /// How long; ns.
    pub at_least_ns: u64,
    /// How many did.
    pub requests: u64,
    /// Of how many.
    pub of: u64,
    from: Step,
}

/// A request's samples, and what its thread did.
pub(super) fn in_request(samples: &[SampleEvent]) -> impl Iterator<Item = (&SampleEvent, Doing)> {
    let spinning = |at_ns: u64| {
        let mut waits = samples.iter().filter(|sample| sample.kind == SAMPLE_RTNL_WAIT);
        waits.any(|wait| (wait.time_ns..wait.time_ns + wait.wait_ns).contains(&at_ns))
    };
    samples.iter().filter_map(move |sample| {
        let doing = match sample.kind {
            SAMPLE_ON_CPU if spinning(sample.time_ns) => Doing::Spinning,
            SAMPLE_ON_CPU => Doing::OnCpu,
            SAMPLE_OFF_CPU => Doing::OffCpu,
            SAMPLE_RTNL_WAIT => Doing::RtnlWait,
            _ => return None,
        };
        Some((sample, doing))
    })
}

impl Gathered {
    /// `hz` is the timer's frequency on each CPU. Requests are told apart by steps of 4 % of their time, one of which begins at `unit_ns`.
    pub fn new(hz: u64, unit_ns: u64) -> Self {
        Self {
            period_ns: 1_000_000_000 / hz.max(1),
            unit_ns: unit_ns.max(1),
            names: Vec::new(),
            numbers: HashMap::new(),
            open: HashMap::new(),
            stacks: HashMap::new(),
            requests: BTreeMap::new(),
            held: VecDeque::new(),
            holders: HashMap::new(),
        }
    }

    /// Adds a sample. Those of a request are kept until it ends.
    pub fn sample(&mut self, sample: &SampleEvent) {
        if sample.flags & SAMPLE_HOLDS_RTNL != 0 {
            self.hold(sample);
        }
        if sample.kind == SAMPLE_RTNL_WAIT {
            self.waited(sample.time_ns, sample.time_ns + sample.wait_ns);
        }
        if sample.flags & ebpf_loader::SAMPLE_FOLLOWED == 0 {
            return;
        }
        if sample.request_start_ns == 0 {
            self.add(sample, sample.comm().to_owned(), OUTSIDE);
            return;
        }
        if self.open.len() >= MOST_OPEN {
            self.end_open();
        }
        let open = self.open.entry(sample.tid).or_default();
        if open.0 == sample.request_start_ns {
            open.1.push(*sample);
        } else {
            // The end of the one before was lost, and with it how long that took.
            let (_, lost) = std::mem::replace(open, (sample.request_start_ns, vec![*sample]));
            self.outside(&lost);
        }
    }

    /// A request has ended: its samples, which are to be handed back by [`Gathered::request`].
    pub fn take(&mut self, event: &RequestEvent) -> Vec<SampleEvent> {
        // Nearly always there is none, and then this costs nothing.
        if self.open.is_empty() {
            return Vec::new();
        }
        match self.open.remove(&event.tid) {
            Some((begun, samples)) if begun == event.start_ns => samples,
            Some((_, samples)) => {
                self.outside(&samples);
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    /// A request that took so long, with its samples. `comm` has sent it, if that is known better than by its samples.
    pub fn request(&mut self, total_ns: u64, samples: &[SampleEvent], comm: Option<&str>) {
        let step = self.step(total_ns);
        *self.requests.entry(step).or_default() += 1;
        for (sample, doing) in in_request(samples) {
            let name = comm.map_or_else(|| sample.comm().to_owned(), str::to_owned);
            let Some((stack, weight)) = self.weigh(sample, name) else { continue };
            self.stacks.entry((Stack { doing, ..stack }, step)).or_default().add(weight);
        }
    }

    /// Nothing more will come.
    pub fn finish(&mut self) {
        self.end_open();
        while let Some(held) = self.held.pop_front() {
            self.let_go(&held);
        }
    }

    /// What ran in the kernel, by the number of its stack; how often nothing of the kernel's did, and how often a stack was lost.
    pub fn kernel_samples(&self) -> (HashMap<i32, u64>, u64, u64) {
        let (mut by_stack, mut in_user_mode, mut lost) = (HashMap::new(), 0, 0);
        for (stack, weight) in self.stacks(&ON_CPU) {
            match stack.kernel {
                STACK_LOST => lost += weight.samples,
                ..0 => in_user_mode += weight.samples,
                kernel => *by_stack.entry(kernel).or_default() += weight.samples,
            }
        }
        (by_stack, in_user_mode, lost)
    }

    /// The thread name of this number.
    pub fn name(&self, number: u32) -> &str {
        self.names.get(number as usize).map_or("", String::as_str)
    }

    /// All stacks, of those who were followed and of holders.
    pub fn all(&self) -> impl Iterator<Item = &Stack> {
        self.stacks.keys().map(|(stack, _)| stack).chain(self.holders.keys())
    }

    /// Where all that was followed was, in one of these states; in no order.
    pub fn stacks(&self, doing: &[Doing]) -> Vec<(Stack, Weight)> {
        self.sum(|stack, _| doing.contains(&stack.doing))
    }

    /// Where those requests were, from their begin to their end, each moment once; in no order.
    pub fn slow_stacks(&self, slow: Slow) -> Vec<(Stack, Weight)> {
        self.sum(|stack, step| step != OUTSIDE && step >= slow.from && stack.doing != Doing::Spinning)
    }

    /// What those did who held RTNL while a request waited for it; in no order.
    pub fn holders(&self) -> Vec<(Stack, Weight)> {
        self.holders.iter().map(|(&stack, &weight)| (stack, weight)).collect()
    }

    /// Requests that took at least the unit.
    pub fn over_unit(&self) -> Slow {
        self.from(0)
    }

    /// The slowest requests: a twentieth of all, or less, but for one that all were equally slow as. `None` without a request.
    pub fn slowest(&self) -> Option<Slow> {
        let all: u64 = self.requests.values().sum();
        let mut slowest = self.from(*self.requests.keys().next_back()?);
        for &from in self.requests.keys().rev() {
            let slow = self.from(from);
            if slow.requests * 20 > all {
                break;
            }
            slowest = slow;
        }
        Some(slowest)
    }

    fn from(&self, from: Step) -> Slow {
        let at_least = self.unit_ns as f64 * (f64::from(from) / STEPS).exp2();
        Slow {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a positive number of ns"
            )]
            at_least_ns: at_least.round() as u64,
            requests: self.requests.range(from..).map(|(_, count)| count).sum(),
            of: self.requests.values().sum(),
            from,
        }
    }

    fn sum(&self, which: impl Fn(&Stack, Step) -> bool) -> Vec<(Stack, Weight)> {
        let mut sums = HashMap::<Stack, Weight>::new();
        for (&(stack, step), &weight) in &self.stacks {
            if which(&stack, step) {
                sums.entry(stack).or_default().add(weight);
            }
        }
        sums.into_iter().collect()
    }

    fn step(&self, nanos: u64) -> Step {
        let step = ((nanos.max(1) as f64 / self.unit_ns as f64).log2() * STEPS).floor();
        #[expect(clippy::cast_possible_truncation, reason = "16 times the logarithm of a u64")]
        let step = step as Step;
        step
    }

    fn add(&mut self, sample: &SampleEvent, comm: String, step: Step) {
        let Some((stack, weight)) = self.weigh(sample, comm) else { return };
        self.stacks.entry((stack, step)).or_default().add(weight);
    }

    fn weigh(&mut self, sample: &SampleEvent, comm: String) -> Option<(Stack, Weight)> {
        let (doing, nanos) = match sample.kind {
            SAMPLE_ON_CPU => (Doing::OnCpu, self.period_ns),
            SAMPLE_OFF_CPU => (Doing::OffCpu, sample.wait_ns),
            SAMPLE_RTNL_WAIT => (Doing::RtnlWait, sample.wait_ns),
            _ => return None,
        };
        let comm = self.number(comm);
        let stack =
            Stack { doing, process: sample.tgid, comm, kernel: sample.kernel_stack, user: sample.user_stack };
        Some((stack, Weight { samples: 1, nanos }))
    }

    fn number(&mut self, name: String) -> u32 {
        if let Some(&number) = self.numbers.get(&name) {
            return number;
        }
        let number = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.names.push(name.clone());
        self.numbers.insert(name, number);
        number
    }

    fn outside(&mut self, samples: &[SampleEvent]) {
        for sample in samples {
            self.add(sample, sample.comm().to_owned(), OUTSIDE);
        }
    }

    fn end_open(&mut self) {
        for (_, samples) in std::mem::take(&mut self.open).into_values() {
            self.outside(&samples);
        }
    }

    fn hold(&mut self, sample: &SampleEvent) {
        let Some((stack, weight)) = self.weigh(sample, sample.comm().to_owned()) else { return };
        if self.held.len() >= MOST_HELD
            && let Some(oldest) = self.held.pop_front()
        {
            self.let_go(&oldest);
        }
        self.held.push_back(Held {
            begin_ns: sample.time_ns,
            end_ns: sample.time_ns + sample.wait_ns,
            stack,
            nanos: weight.nanos,
            waited_for: false,
        });
    }

    /// Somebody waited for RTNL from then till then, and now has it.
    fn waited(&mut self, begin_ns: u64, end_ns: u64) {
        for held in self.held.iter_mut().rev() {
            if held.end_ns < begin_ns {
                // One that was off the CPU came later than what it did before: those further back are older still.
                break;
            }
            held.waited_for |= held.begin_ns <= end_ns;
        }
    }

    fn let_go(&mut self, held: &Held) {
        if held.waited_for {
            self.holders.entry(held.stack).or_default().add(Weight { samples: 1, nanos: held.nanos });
        }
    }
}

#[cfg(test)]
mod tests {
    use ebpf_loader::SAMPLE_FOLLOWED;

    use super::*;

    fn sample(kind: u16, time_ns: u64, wait_ns: u64, request_start_ns: u64) -> SampleEvent {
        let mut sample = SampleEvent {
            time_ns,
            wait_ns,
            request_start_ns,
            tgid: 7,
            tid: 7,
            kernel_stack: 1,
            user_stack: 2,
            kind,
            flags: SAMPLE_FOLLOWED,
            ..SampleEvent::default()
        };
        sample.comm[..2].copy_from_slice(b"tc");
        sample
    }

    fn request(start_ns: u64, total_ns: u64) -> RequestEvent {
        RequestEvent { tgid: 7, tid: 7, start_ns, total_ns, ..RequestEvent::default() }
    }

    fn end(gathered: &mut Gathered, event: &RequestEvent, comm: Option<&str>) {
        let samples = gathered.take(event);
        gathered.request(event.total_ns, &samples, comm);
    }

    fn nanos(stacks: &[(Stack, Weight)]) -> u64 {
        stacks.iter().map(|(_, weight)| weight.nanos).sum()
    }

    #[test]
    fn samples_belong_to_the_request_in_which_they_were_taken() {
        let mut gathered = Gathered::new(1_000, 1_000_000);
        gathered.sample(&sample(SAMPLE_RTNL_WAIT, 10, 500, 9));
        gathered.sample(&sample(SAMPLE_ON_CPU, 600, 0, 9));
        gathered.sample(&sample(SAMPLE_ON_CPU, 300, 0, 9));
        end(&mut gathered, &request(9, 2_000_000), Some("tc"));
        gathered.sample(&sample(SAMPLE_OFF_CPU, 3_000_010, 70, 3_000_000));
        end(&mut gathered, &request(3_000_000, 80), None);
        gathered.sample(&sample(SAMPLE_ON_CPU, 4_000_000, 0, 0));
        gathered.finish();
        assert_eq!(nanos(&gathered.stacks(&[Doing::RtnlWait])), 500);
        assert_eq!(nanos(&gathered.stacks(&[Doing::OffCpu])), 70);
        assert_eq!(nanos(&gathered.stacks(&[Doing::OnCpu])), 2_000_000, "a period of the timer each");
        let slow = gathered.over_unit();
        assert_eq!((slow.at_least_ns, slow.requests, slow.of), (1_000_000, 1, 2));
        assert_eq!(nanos(&gathered.slow_stacks(slow)), 1_000_500, "no more than the request's own time");
        assert_eq!(nanos(&gathered.stacks(&[Doing::Spinning])), 1_000_000);
        let (stack, _) = gathered.stacks(&[Doing::RtnlWait])[0];
        assert_eq!((gathered.name(stack.comm), stack.process, stack.kernel, stack.user), ("tc", 7, 1, 2));
    }

    #[test]
    fn a_request_whose_end_was_lost_is_not_taken_for_the_next() {
        let mut gathered = Gathered::new(1_000, 1_000);
        gathered.sample(&sample(SAMPLE_OFF_CPU, 1, 5, 9));
        gathered.sample(&sample(SAMPLE_OFF_CPU, 101, 6, 100));
        end(&mut gathered, &request(100, 8_000), None);
        gathered.sample(&sample(SAMPLE_OFF_CPU, 201, 7, 200));
        end(&mut gathered, &request(300, 8_000), None);
        assert_eq!(nanos(&gathered.slow_stacks(gathered.over_unit())), 6);
        assert_eq!(nanos(&gathered.stacks(&[Doing::OffCpu])), 18, "but its time is there");
    }

    #[test]
    fn the_slowest_are_a_twentieth_or_less() {
        let mut gathered = Gathered::new(1_000, 1_000);
        assert_eq!(gathered.slowest(), None);
        for _ in 0..96 {
            end(&mut gathered, &request(0, 100_000), None);
        }
        for total in [900_000, 900_000, 5_000_000, 5_000_000] {
            end(&mut gathered, &request(0, total), None);
        }
        let slow = gathered.slowest().unwrap();
        assert_eq!((slow.requests, slow.of), (4, 100));
        assert!((100_000..=900_000).contains(&slow.at_least_ns), "{slow:?}");
        let mut alike = Gathered::new(1_000, 1_000);
        end(&mut alike, &request(0, 5_000), None);
        assert_eq!(alike.slowest().unwrap().requests, 1, "all are equally slow");
    }

    #[test]
    fn who_holds_rtnl_counts_while_somebody_waits() {
        let mut gathered = Gathered::new(1_000, 1_000);
        let holder = |time_ns, wait_ns, kind| SampleEvent {
            tgid: 42,
            tid: 42,
            flags: SAMPLE_HOLDS_RTNL,
            ..sample(kind, time_ns, wait_ns, 0)
        };
        gathered.sample(&holder(100, 0, SAMPLE_ON_CPU));
        gathered.sample(&holder(500, 0, SAMPLE_ON_CPU));
        gathered.sample(&holder(600, 50, SAMPLE_OFF_CPU));
        gathered.sample(&sample(SAMPLE_RTNL_WAIT, 450, 250, 440));
        gathered.sample(&holder(900, 0, SAMPLE_ON_CPU));
        gathered.finish();
        let holders = gathered.holders();
        assert_eq!(holders.iter().map(|(_, weight)| weight.samples).sum::<u64>(), 2, "{holders:?}");
        assert_eq!(nanos(&holders), 1_000_050);
        assert!(holders.iter().all(|(stack, _)| stack.process == 42));
        assert!(gathered.stacks(&[Doing::OnCpu]).is_empty(), "it is not followed");
    }
}
