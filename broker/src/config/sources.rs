//! The file and the environment, read and layered.

use std::collections::BTreeMap;
use std::path::Path;

use serde::de::DeserializeOwned;

use super::error::{ConfigError, Fault};
use super::gateways::{self, NamedGateway};
use super::layer::{Layer, Part, Places, merge};
use super::listeners::name_listeners;
use super::node::Table;
use super::notice::Notice;
use super::place::{Origins, Place};
use super::problem::Problem;
use super::source_file::{ReadError, read_text};
use super::{deserializer, environment, hocon, toml_file};

/// All that is configured, before it is given types.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    origins: Origins,
    /// What later layers say goes before what earlier ones say.
    layers: Vec<Layer>,
    variables: BTreeMap<String, String>,
}

impl Sources {
    pub(super) fn new(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        Self {
            variables: variables.into_iter().collect(),
            ..Self::default()
        }
    }

    pub(super) fn add_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let name = path.display().to_string();
        match read_text(path) {
            Ok(text) => self.add_text(path, &text),
            Err(ReadError::NotText { line, column }) => Err(ConfigError::InFile {
                file: name,
                line,
                column,
                message: "the file is not UTF-8 text from here on".to_owned(),
            }),
            Err(error) => Err(ConfigError::unreadable(&name, &error.message())),
        }
    }

    /// Adds what is read from `path`, whose extension tells the format.
    pub(super) fn add_text(&mut self, path: &Path, text: &str) -> Result<(), ConfigError> {
        let start = self.origins.add_file(path.display().to_string());
        let root = self.read(path, text, start);
        self.add_layer(root)
    }

    fn read(&mut self, path: &Path, text: &str, start: Place) -> Result<Table, Fault> {
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            return toml_file::read(text, start);
        }
        let folder = path.parent().unwrap_or_else(|| Path::new(""));
        hocon::read(text, start, folder, &mut self.origins, &self.variables)
    }

    /// Adds the settings among the environment variables, on top of the files.
    pub(super) fn add_environment(&mut self) -> Result<(), ConfigError> {
        let root = environment::read(&self.variables, &self.layers, &mut self.origins);
        self.add_layer(root)
    }

    fn add_layer(&mut self, root: Result<Table, Fault>) -> Result<(), ConfigError> {
        let mut root = root.map_err(|fault| fault.locate(&self.origins))?;
        name_listeners(&mut root);
        self.layers.push(Layer(root));
        Ok(())
    }

    pub(super) fn deserialize<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        let merged =
            merge(&self.layers).map_err(|error| ConfigError::nowhere(&error.to_string()))?;
        deserializer::deserialize(merged, &self.places())
    }

    pub(super) fn locate(&self, problem: &Problem) -> ConfigError {
        let Problem {
            path,
            message,
            position,
        } = problem;
        match position {
            Some(position) => self.places().error_within(path, *position, message),
            None => self.places().error(path, Part::Value, message),
        }
    }

    /// Reads the files that a gateway or bridge reads while it runs, as it does then. Blocks.
    ///
    /// # Errors
    /// The first one that cannot be used, with the place of its key.
    pub(crate) fn check_files(&self, gateway: &NamedGateway) -> Result<(), ConfigError> {
        gateways::check_files(gateway).map_err(|problem| self.locate(&problem))
    }

    /// What was left out.
    pub(super) fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.origins.notices)
    }

    fn places(&self) -> Places<'_> {
        Places::new(&self.origins, &self.layers)
    }
}
