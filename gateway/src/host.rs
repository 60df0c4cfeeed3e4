//! Names and addresses of hosts.

use std::net::{IpAddr, Ipv6Addr};

/// Checks the syntax of a host: a name, an IPv4 address, or an IPv6 address in brackets.
///
/// # Errors
/// What is wrong with it.
pub fn check_host(host: &str) -> Result<(), &'static str> {
    const NAME_BYTES_MAX: usize = 253;
    const LABEL_BYTES_MAX: usize = 63;
    if let Some(rest) = host.strip_prefix('[') {
        let address = rest.strip_suffix(']').map(str::parse::<Ipv6Addr>);
        return match address {
            Some(Ok(_)) => Ok(()),
            Some(Err(_)) | None => Err("between brackets there must be an IPv6 address"),
        };
    }
    if host.is_empty() {
        return Err("the host is missing");
    }
    if host.contains(':') {
        return Err("an IPv6 address must be in brackets, as in [::1]");
    }
    let is_letter = |character: char| character.is_ascii_alphanumeric() || "-_".contains(character);
    let mut labels = host.strip_suffix('.').unwrap_or(host).split('.');
    let is_name = labels.clone().all(|label| {
        !label.is_empty()
            && label.len() <= LABEL_BYTES_MAX
            && label.chars().all(is_letter)
            && !label.starts_with('-')
            && !label.ends_with('-')
    });
    if !is_name || host.len() > NAME_BYTES_MAX {
        return Err("the host is neither a name nor an address");
    }
    // No name ends in a number.
    let is_number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    if labels.next_back().is_some_and(is_number) && host.parse::<IpAddr>().is_err() {
        return Err("the host is no IPv4 address");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check_host;

    #[test]
    fn hosts_are_checked() {
        let label = "a".repeat(63);
        for host in ["a", "10.0.0.7", "[::1]", "hub.example.", "a_b-c.d1", &label] {
            assert_eq!(check_host(host), Ok(()), "{host}");
        }
        let long = "a.".repeat(127);
        for host in [
            "",
            "::1",
            "[::1",
            "[a]",
            "[10.0.0.7]",
            "a b",
            "a..b",
            ".a",
            "-a",
            "a-",
            "ü",
            "a/b",
            "u@a",
            "1.2.3",
            "1.2.3.256",
            "10.0.0.7.",
            "*",
            &format!("{label}a"),
            &long,
        ] {
            assert!(check_host(host).is_err(), "{host}");
        }
    }
}
