//! QEMU: one guest, from its start to its end, with its console kept and a limit to everything.

use std::{
    fs::{self, File},
    io::{Read as _, Write},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use super::{
    accel::Accel,
    clock,
    error::{Error, file},
    image::Image,
    job::PORT,
    program,
    results::{self, Results},
    verdict::{self, Wait},
};
use crate::interrupt;

/// The guest's first process shows that it is alive every 30 seconds.
pub(super) const STALL: Duration = Duration::from_mins(2);

/// All that QEMU can emulate, but for what it emulates wrongly or slowly: after cmpxchg16b, on which the kernel's memory allocator
/// builds, the flags of QEMU 7.2 are rubbish now and then, and the kernel ends in a double fault; a fifth level of page tables costs time.
const TCG_CPU: &str = "max,cx16=off,la57=off";

/// One thread for all processors. With a thread for each, a processor may run a stale translation of code that another one has just
/// patched, as attaching a probe does, and then meets a breakpoint that the kernel knows nothing of any more: `Oops: int3`.
const TCG: &str = "tcg,thread=single";

/// What the kernel is told under TCG. Mitigations keep nobody from anything there, and cost a lot. The time stamp counter is one for
/// all of QEMU's processors, and never goes backwards; some kernels do not trust it, and read a clock that is ten times as slow. Beside a
/// busy host the timer misses ticks while it is being tried, and a kernel that believes it broken panics.
const TCG_KERNEL: &str = "tsc=reliable no_timer_check mitigations=off";

/// A guest to run.
#[derive(Debug)]
pub(super) struct Machine {
    vmlinuz: PathBuf,
    pub(super) initramfs: PathBuf,
    /// Where the console's log and the results go.
    dir: PathBuf,
    accel: Accel,
    memory: u32,
    cpus: u32,
    timeout: Duration,
    /// How long the console may be silent.
    pub(super) stall: Duration,
    /// The console is the caller's terminal.
    pub(super) interactive: bool,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) results: Results,
    pub(super) fault: Option<String>,
    pub(super) console: PathBuf,
    pub(super) took: Duration,
}

impl Machine {
    pub(super) fn new(
        image: &Image,
        dir: &Path,
        accel: Accel,
        memory: u32,
        cpus: u32,
        timeout: Duration,
    ) -> Self {
        Self {
            vmlinuz: image.vmlinuz.clone(),
            initramfs: dir.join("initramfs.cpio"),
            dir: dir.to_owned(),
            accel,
            memory,
            cpus,
            timeout,
            stall: STALL,
            interactive: false,
        }
    }

    fn console(&self) -> PathBuf {
        self.dir.join("console.log")
    }

    /// What QEMU itself has to say.
    fn words(&self) -> PathBuf {
        self.dir.join("qemu.log")
    }

    fn stream(&self) -> PathBuf {
        self.dir.join("results.tar")
    }

    fn command(&self) -> Command {
        let mut command = Command::new("qemu-system-x86_64");
        command.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]);
        match self.accel {
            Accel::Kvm => command.args(["-accel", "kvm", "-cpu", "host"]),
            Accel::Tcg => command.args(["-accel", TCG, "-cpu", TCG_CPU]),
        };
        command.args(["-m", &self.memory.to_string(), "-smp", &self.cpus.to_string()]);
        command.arg("-kernel").arg(&self.vmlinuz).arg("-initrd").arg(&self.initramfs);
        // A panic ends the guest, and so does what would be one on a careful person's machine.
        let more = match self.accel {
            Accel::Kvm => String::new(),
            Accel::Tcg => format!("{TCG_KERNEL} {}", clock::argument().unwrap_or_default()),
        };
        command.args(["-append", &format!("console=ttyS0 panic=-1 oops=panic loglevel=4 {more}")]);
        if self.interactive {
            let log = escaped(&self.console());
            command.args(["-chardev", &format!("stdio,id=console,mux=on,signal=off,logfile={log}")]);
            command.args(["-serial", "chardev:console", "-mon", "chardev=console"]);
        } else {
            command.args(["-serial", "stdio", "-monitor", "none"]);
        }
        let stream = escaped(&self.stream());
        command.args(["-device", "virtio-serial-pci", "-chardev", &format!("file,id=results,path={stream}")]);
        command.args(["-device", &format!("virtserialport,chardev=results,name={PORT}")]);
        // SAFETY: between fork and exec only prctl(2) is called, which takes no memory.
        unsafe {
            command.pre_exec(|| {
                // A guest whose keeper was killed would run on for nobody.
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            });
        }
        command
    }
}

/// A comma separates a character device's options; doubled it is one.
fn escaped(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

/// Boots a guest, waits for its end, and reads what it sent. `progress` gets the console's lines as they come.
pub(super) fn run(machine: &Machine, progress: &mut dyn Write) -> Result<Outcome, Error> {
    let began = Instant::now();
    let (console, stream) = (machine.console(), machine.stream());
    for path in [&console, &stream] {
        File::create(path).map_err(file(path))?;
    }
    let mut command = machine.command();
    let words = machine.words();
    if !machine.interactive {
        // In a shell, Ctrl-C is the guest's.
        interrupt::listen();
        let words = File::create(&words).map_err(file(&words))?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(words);
    }
    let mut child = command.spawn().map_err(|source| program::start(&command, source))?;
    let wait = match child.stdout.take() {
        Some(stdout) => watch(machine, &mut child, stdout, progress)?,
        None => wait_for(&mut child, machine.timeout),
    };
    if interrupt::came() {
        return Err(Error::Interrupted);
    }
    let results = results::unpack(&stream, &machine.dir)?;
    for path in [&stream, &machine.initramfs] {
        fs::remove_file(path).map_err(file(path))?;
    }
    let log = String::from_utf8_lossy(&fs::read(&console).map_err(file(&console))?).into_owned();
    let words = fs::read(&words).unwrap_or_default();
    let fault = verdict::fault(wait, results.end.is_some(), &log, &String::from_utf8_lossy(&words));
    Ok(Outcome { results, fault, console, took: began.elapsed() })
}

/// Keeps and shows the console until the guest ends, stalls, or has had its time.
fn watch(
    machine: &Machine,
    child: &mut Child,
    mut stdout: ChildStdout,
    progress: &mut dyn Write,
) -> Result<Wait, Error> {
    let (sender, receiver) = mpsc::channel();
    let reader = thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stdout.read(&mut buffer) {
            if sender.send(buffer[..count].to_vec()).is_err() {
                break;
            }
        }
    });
    let console = machine.console();
    let mut log = File::create(&console).map_err(file(&console))?;
    let began = Instant::now();
    let mut heard = Instant::now();
    let wait = loop {
        match receiver.recv_timeout(Duration::from_millis(200)) {
            Ok(piece) => {
                heard = Instant::now();
                log.write_all(&piece).map_err(file(&console))?;
                // Showing it is a courtesy: whoever closes the terminal still gets the log.
                let _ = progress.write_all(&piece);
            }
            Err(RecvTimeoutError::Disconnected) => break wait_for(child, Duration::from_secs(30)),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if interrupt::came() || began.elapsed() > machine.timeout {
            break Wait::TimedOut(machine.timeout.as_secs());
        }
        if heard.elapsed() > machine.stall {
            break Wait::Stalled(machine.stall.as_secs());
        }
    };
    end(child);
    let _ = reader.join();
    Ok(wait)
}

fn wait_for(child: &mut Child, timeout: Duration) -> Wait {
    let began = Instant::now();
    while began.elapsed() < timeout && !interrupt::came() {
        match child.try_wait() {
            Ok(Some(status)) => return Wait::Ended { well: status.success() },
            Ok(None) => thread::sleep(Duration::from_millis(50)),
            Err(_) => break,
        }
    }
    end(child);
    Wait::TimedOut(timeout.as_secs())
}

/// QEMU has nothing to put in order.
fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(accel: Accel) -> Machine {
        let image = Image {
            vmlinuz: "/k/vmlinuz".into(),
            modules: "/k/modules.cpio".into(),
            warning: None,
            version: "6.1.176-1".into(),
        };
        Machine::new(&image, Path::new("/r/a,b"), accel, 512, 2, Duration::from_mins(1))
    }

    #[test]
    fn a_guest_has_a_limit_to_its_panics_and_no_network() {
        let line = crate::cargo::shown(&machine(Accel::Tcg).command());
        for words in [
            "-accel tcg,thread=single -cpu max,cx16=off",
            "-m 512 -smp 2",
            "-no-reboot",
            "panic=-1",
            "-nodefaults",
        ] {
            assert!(line.contains(words), "{line}");
        }
        assert!(line.contains("path=/r/a,,b/results.tar"), "{line}");
        assert!(crate::cargo::shown(&machine(Accel::Kvm).command()).contains("-accel kvm -cpu host"));
    }

    #[test]
    fn a_shell_has_the_terminal() {
        let mut machine = machine(Accel::Tcg);
        machine.interactive = true;
        assert!(
            crate::cargo::shown(&machine.command()).contains("mux=on,signal=off,logfile=/r/a,,b/console.log")
        );
    }
}
