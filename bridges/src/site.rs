//! Where a bridge runs: what `${gateway}`, `${HOSTNAME}` and `${VIN}` stand for.

use gateway::{ConfigError, Template};
use mqtt::{TopicFilter, TopicName};

/// The variables that may have the Vehicle Identification Number; the first one counts.
pub const VIN_VARIABLES: [&str; 2] = ["TIDEGATE_VIN", "NANOMQ_VIN"];

/// The values that stay the same for as long as a bridge runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Site {
    /// The bridge's name.
    pub(crate) bridge: String,
    /// The host's name.
    pub(crate) host_name: String,
    /// The Vehicle Identification Number, if there is one.
    pub(crate) vin: Option<String>,
}

impl Site {
    /// The site of the bridge of this name in this process.
    pub(crate) fn here(bridge: &str) -> Self {
        let variables = VIN_VARIABLES.iter();
        let mut vins = variables.filter_map(|name| std::env::var(name).ok());
        Self {
            bridge: bridge.to_owned(),
            host_name: host_name(),
            vin: vins.find(|vin| !vin.is_empty()),
        }
    }

    /// A template with the site's values in it.
    pub(crate) fn template(&self, key: &str, template: &Template) -> Result<Template, ConfigError> {
        if self.vin.is_none() && template.has_name("VIN") {
            let problem = format!(
                "`${{VIN}}` has no value: set the environment variable {}",
                VIN_VARIABLES[0]
            );
            return Err(ConfigError::new(key, problem));
        }
        Ok(template.with(&[
            ("gateway", &self.bridge),
            ("HOSTNAME", &self.host_name),
            ("VIN", self.vin.as_deref().unwrap_or_default()),
        ]))
    }

    /// A text with the site's values in it, where nothing else has a value.
    pub(crate) fn text(&self, key: &str, text: &str) -> Result<String, ConfigError> {
        let refused = |error| ConfigError::new(key, error);
        let template = Template::parse(text).map_err(refused)?;
        let template = self.template(key, &template)?;
        let known = ["gateway", "HOSTNAME", "VIN"];
        template.check(&known, 0, 0).map_err(refused)?;
        Ok(template.as_literal().unwrap_or_default().to_owned())
    }

    /// A topic with the site's values in it.
    pub(crate) fn topic(&self, key: &str, topic: &str) -> Result<String, ConfigError> {
        let topic = self.text(key, topic)?;
        TopicName::check(&topic).map_err(|error| ConfigError::new(key, error))?;
        Ok(topic)
    }

    /// A filter with the site's values in it.
    pub(crate) fn filter(
        &self,
        key: &str,
        filter: &TopicFilter,
    ) -> Result<TopicFilter, ConfigError> {
        let text = self.text(key, filter.as_str())?;
        TopicFilter::new(&text).map_err(|error| ConfigError::new(key, error))
    }

    /// The Client Identifier at the hub. The VIN stands at its end unless it says where.
    pub(crate) fn client_id(&self, configured: Option<&str>) -> Result<String, ConfigError> {
        const KEY: &str = "clientid";
        let default = "${HOSTNAME}-${gateway}";
        let text = configured.unwrap_or(default);
        let mut client_id = self.text(KEY, text)?;
        if !text.contains("${VIN}") {
            client_id.push_str(self.vin.as_deref().unwrap_or_default());
        }
        if client_id.contains('\0') {
            return Err(ConfigError::new(KEY, "must not contain a null character"));
        }
        Ok(client_id)
    }
}

/// The host's name, which makes the Client Identifier at the hub unique among gateways.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() {
        "tidegate".to_owned()
    } else {
        name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(vin: Option<&str>) -> Site {
        Site {
            bridge: "up".to_owned(),
            host_name: "box7".to_owned(),
            vin: vin.map(str::to_owned),
        }
    }

    #[test]
    fn client_identifiers_have_the_vin_at_their_end_or_where_they_say() {
        let table = [
            (None, None, "box7-up"),
            (None, Some("V1"), "box7-upV1"),
            (Some("c"), None, "c"),
            (Some("c-"), Some("V1"), "c-V1"),
            (Some("${VIN}-${HOSTNAME}"), Some("V1"), "V1-box7"),
            (Some("5$"), None, "5$"),
        ];
        for (configured, vin, expected) in table {
            let client_id = site(vin).client_id(configured);
            assert_eq!(client_id.as_deref(), Ok(expected), "{configured:?}");
        }
    }

    #[test]
    fn a_client_identifier_that_cannot_be_sent_is_refused() {
        let error = site(None).client_id(Some("a\0")).unwrap_err();
        let expected = "clientid: must not contain a null character";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn what_has_no_value_is_refused() {
        let site = site(None);
        let table = [
            (
                "a/${VIN}",
                "k: `${VIN}` has no value: set the environment variable TIDEGATE_VIN",
            ),
            (
                "a/${vin}",
                "k: unknown placeholder `${vin}`; known here: gateway, HOSTNAME, VIN",
            ),
            ("$1", "k: `$1` has no value: the filter has 0 wildcard(s)"),
            ("${", "k: a placeholder is not closed: `}` is missing"),
        ];
        for (text, expected) in table {
            let error = site.text("k", text).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
        assert_eq!(site.topic("k", "a/${gateway}").as_deref(), Ok("a/up"));
        let error = site.topic("k", "${gateway}/+").unwrap_err();
        assert_eq!(error.key, "k");
        let filter = TopicFilter::new("$share/g/${gateway}/+").unwrap();
        let filled = site.filter("k", &filter).unwrap();
        assert_eq!(filled.as_str(), "$share/g/up/+");
    }
}
