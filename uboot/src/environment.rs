//! The two copies of an environment, and which of them is written.
//!
//! Every transition is one write of the copy that is not in force, so that a cut leaves the other.

use gybe_core::boot::{BootEnv, BootState, EnvFile, Health, Loaded};

use crate::image::{Image, ImageError, Stamp};

/// Length of each file of the two-file form in bytes, as `boot.cmd` reads and writes it.
pub const FILE_LEN: usize = 4096;

/// U-Boot's environment, in two copies `F` and with a buffer `B` for each.
#[derive(Debug)]
pub struct Environment<F, B> {
    form: Form,
    first: Copy<F, B>,
    second: Copy<F, B>,
}

/// Where U-Boot looks for the age of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Redundant,
    Files,
}

#[derive(Debug)]
struct Copy<F, B> {
    file: F,
    buffer: B,
}

/// Why one copy cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CopyError<E> {
    /// It cannot be read or written.
    #[error("{0}")]
    Medium(E),
    /// It is not an environment.
    #[error("{0}")]
    Image(ImageError),
}

/// Why the environment cannot be loaded or stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvironmentError<E> {
    /// Both copies are damaged. In a redundant environment U-Boot then uses what it was built with;
    /// `saveenv` in U-Boot writes that down.
    #[error("boot environment, first copy: {first}; second copy: {second}")]
    BothDamaged {
        /// What is wrong with the first copy.
        first: CopyError<E>,
        /// What is wrong with the second copy.
        second: CopyError<E>,
    },
    /// The copy in force holds no state, or has no room for one.
    #[error("boot {0}")]
    Image(ImageError),
    /// The new copy cannot be written.
    #[error("boot environment: {0}")]
    Write(E),
}

/// Which copy is in force, and whether the other could be read.
struct Chosen {
    first: bool,
    other_whole: bool,
}

impl<F: EnvFile, B: AsRef<[u8]> + AsMut<[u8]>> Environment<F, B> {
    /// U-Boot's own redundant environment, in two areas as long as the buffers.
    pub fn redundant(areas: [F; 2], buffers: [B; 2]) -> Self {
        Self::new(Form::Redundant, areas, buffers)
    }

    /// Two files that `boot.cmd` imports, for a U-Boot without a redundant environment. Each buffer
    /// has [`FILE_LEN`] bytes.
    pub fn files(files: [F; 2], buffers: [B; 2]) -> Self {
        Self::new(Form::Files, files, buffers)
    }

    fn new(form: Form, files: [F; 2], buffers: [B; 2]) -> Self {
        let [first, second] = files;
        let [first_buffer, second_buffer] = buffers;
        let first = Copy { file: first, buffer: first_buffer };
        let second = Copy { file: second, buffer: second_buffer };
        Self { form, first, second }
    }

    /// The two areas or files again.
    pub fn into_files(self) -> [F; 2] {
        [self.first.file, self.second.file]
    }

    /// Reads both copies into their buffers, and chooses as U-Boot does.
    fn choose(&mut self) -> Result<Chosen, EnvironmentError<F::Error>> {
        let stamps = (self.first.read(self.form), self.second.read(self.form));
        match stamps {
            (Ok(first), Ok(second)) => {
                let first = first.is_in_force_against(second);
                Ok(Chosen { first, other_whole: true })
            }
            (Ok(_), Err(_)) => Ok(Chosen { first: true, other_whole: false }),
            (Err(_), Ok(_)) => Ok(Chosen { first: false, other_whole: false }),
            (Err(first), Err(second)) => Err(EnvironmentError::BothDamaged { first, second }),
        }
    }

    /// The copy in force, and the one to write.
    const fn by_age(&mut self, chosen: &Chosen) -> (&Copy<F, B>, &mut Copy<F, B>) {
        if chosen.first { (&self.first, &mut self.second) } else { (&self.second, &mut self.first) }
    }

    /// Makes two files a factory environment, whatever is in them: for provisioning, and for an
    /// operator who lost both. A redundant environment is not made here, because a device would lose
    /// the variables that U-Boot was built with, and they are how it boots.
    ///
    /// # Errors
    /// When a file cannot be written, or the environment is redundant and both copies are damaged.
    pub fn format(&mut self) -> Result<(), EnvironmentError<F::Error>> {
        if self.form == Form::Redundant {
            return self.choose().map(|_| ());
        }
        for copy in [&mut self.first, &mut self.second] {
            Image::empty_file()
                .write(None, Stamp::Sequence(0), copy.buffer.as_mut())
                .map_err(EnvironmentError::Image)?;
            copy.file.write(copy.buffer.as_ref()).map_err(EnvironmentError::Write)?;
        }
        Ok(())
    }
}

impl<F: EnvFile, B: AsRef<[u8]> + AsMut<[u8]>> BootEnv for Environment<F, B> {
    type Error = EnvironmentError<F::Error>;

    fn load(&mut self) -> Result<Loaded, Self::Error> {
        let chosen = self.choose()?;
        let form = self.form;
        let (in_force, _) = self.by_age(&chosen);
        let image = in_force.image(form).map_err(EnvironmentError::Image)?;
        let state = image.state().map_err(EnvironmentError::Image)?;
        let health = if chosen.other_whole { Health::Whole } else { Health::CopyDamaged };
        Ok(Loaded { state, health })
    }

    fn store(&mut self, state: &BootState) -> Result<(), Self::Error> {
        let chosen = self.choose()?;
        let form = self.form;
        let (in_force, other) = self.by_age(&chosen);
        let image = in_force.image(form).map_err(EnvironmentError::Image)?;
        if chosen.other_whole && image.state() == Ok(Some(*state)) {
            return Ok(());
        }
        let stamp = image.stamp().next().map_err(EnvironmentError::Image)?;
        image.write(Some(state), stamp, other.buffer.as_mut()).map_err(EnvironmentError::Image)?;
        other.file.write(other.buffer.as_ref()).map_err(EnvironmentError::Write)
    }
}

impl<F: EnvFile, B: AsRef<[u8]> + AsMut<[u8]>> Copy<F, B> {
    fn read(&mut self, form: Form) -> Result<Stamp, CopyError<F::Error>> {
        let expected = self.buffer.as_ref().len();
        let found = self.file.read(self.buffer.as_mut()).map_err(CopyError::Medium)?;
        if found != expected {
            return Err(CopyError::Image(ImageError::Length { found, expected }));
        }
        self.image(form).map(|image| image.stamp()).map_err(CopyError::Image)
    }

    fn image(&self, form: Form) -> Result<Image<'_>, ImageError> {
        match form {
            Form::Redundant => Image::parse_redundant(self.buffer.as_ref()),
            Form::Files => Image::parse_file(self.buffer.as_ref()),
        }
    }
}

/// The name of the second file, where the first is called `name`: with a `2` before the extension,
/// so that it stays a short name on FAT. `gybe.env` has `gybe2.env` beside it.
#[must_use]
pub fn second_file_name(name: &str) -> (&str, &'static str, &str) {
    match name.rfind('.').and_then(|dot| name.split_at_checked(dot)) {
        Some((stem, extension)) => (stem, "2", extension),
        None => (name, "2", ""),
    }
}

#[cfg(test)]
mod tests;
