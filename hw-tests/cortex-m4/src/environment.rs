//! U-Boot's redundant environment in two areas, as the real codec reads and writes it.

use core::convert::Infallible;

use gybe_core::boot::EnvFile;
use gybe_uboot::Environment;

use crate::board::ENVIRONMENT_LEN;

/// One area of the flash chip.
#[derive(Debug)]
pub(crate) struct Area<'a>(&'a mut [u8; ENVIRONMENT_LEN]);

impl EnvFile for Area<'_> {
    type Error = Infallible;

    fn read(&mut self, content: &mut [u8]) -> Result<usize, Infallible> {
        let len = content.len().min(self.0.len());
        content.iter_mut().zip(self.0.iter()).for_each(|(to, from)| *to = *from);
        Ok(len)
    }

    fn write(&mut self, content: &[u8]) -> Result<(), Infallible> {
        self.0.iter_mut().zip(content).for_each(|(to, from)| *to = *from);
        Ok(())
    }
}

/// The environment, with a buffer for each copy.
pub(crate) type Redundant<'a> = Environment<Area<'a>, [u8; ENVIRONMENT_LEN]>;

/// The environment in `areas`.
pub(crate) fn open<'a>(areas: &'a mut [&'static mut [u8; ENVIRONMENT_LEN]; 2]) -> Redundant<'a> {
    let areas = areas.each_mut().map(|area| Area(area));
    Environment::redundant(areas, [[0; ENVIRONMENT_LEN]; 2])
}

/// Makes both areas what U-Boot saved last.
pub(crate) fn fill(areas: &mut [&'static mut [u8; ENVIRONMENT_LEN]; 2], copy: &[u8]) {
    for area in areas {
        area.iter_mut().zip(copy).for_each(|(to, from)| *to = *from);
    }
}
