//! `qdiscope`: see the library.

fn main() -> std::process::ExitCode {
    qdiscope::cli::main()
}
