//! Network devices.

use std::ffi::CString;

use crate::error::Error;

/// A network device of the calling thread's network namespace, at the time of asking.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Device {
    /// The kernel's number for it, never 0. A device made anew under the same name has another one.
    pub index: u32,
    /// Its name, such as `eth0`.
    pub name: String,
}

impl Device {
    /// Looks the device up (`if_nametoindex(3)`); [`Error::NoSuchDevice`] when the namespace has none of that name.
    pub fn by_name(name: &str) -> Result<Self, Error> {
        let missing = || Error::NoSuchDevice { device: name.to_owned() };
        let c_name = CString::new(name).map_err(|_| missing())?;
        // SAFETY: `c_name` is a NUL-terminated string that lives until after the call, which only reads it.
        let index = unsafe { libc::if_nametoindex(c_name.as_ptr()) };
        if index == 0 {
            let source = std::io::Error::last_os_error();
            return Err(match source.raw_os_error() {
                Some(libc::ENODEV | libc::ENXIO) => missing(),
                _ => Error::Socket { operation: "if_nametoindex", source },
            });
        }
        Ok(Self { index, name: name.to_owned() })
    }
}
