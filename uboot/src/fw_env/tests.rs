//! Claims about `fw_env.config`.

use std::string::ToString as _;

use super::*;

#[test]
fn two_lines_with_comments_and_flash_columns_are_two_areas() {
    let text = "# where U-Boot keeps it\n/dev/mmcblk0p1  0x1000 0x4000 0x200 # copy 1\n\n\t/dev/mmcblk0p1 20480\t16384\n";
    let area = |offset| Area { device: "/dev/mmcblk0p1", offset, len: 0x4000 };
    let expected = FwEnv { first: area(0x1000), second: area(20480) };
    assert_eq!(FwEnv::parse(text), Ok(expected));
}

#[test]
fn what_cannot_be_used_is_refused_with_its_line() {
    let ok = "/boot/uboot.env 0 0x4000\n";
    for (text, error) in [
        ("", "0 areas, not 2: a redundant environment is needed"),
        (ok, "1 areas, not 2: a redundant environment is needed"),
        ("/d 0 512\n/d 512 512\n/d 1024 512", "3 areas, not 2: a redundant environment is needed"),
        ("/d 0\n", "line 1: not `device offset length`"),
        ("\n/d zero 512\n", "line 2: offset is not a decimal or 0x number"),
        ("/d -0x10 512\n", "line 1: offset is not a decimal or 0x number"),
        ("/d 0 0xg\n", "line 1: length is not a decimal or 0x number"),
        ("/d 0 511\n", "line 1: environment of 511 bytes, limits 512 and 1048576"),
        ("/d 0 1048577\n", "line 1: environment of 1048577 bytes, limits 512 and 1048576"),
        ("/d 0 0xffffffffffffffff0\n", "line 1: length is not a decimal or 0x number"),
        ("/dev/mtd1 0 512\n", "line 1: raw flash is not supported, use a block device or a file"),
        ("/dev/ubi0_1 0 512\n", "line 1: raw flash is not supported, use a block device or a file"),
        ("/d 0 512\n/d 1024 1024\n", "areas of 512 and 1024 bytes, not of equal length"),
        ("/d 0 512\n/d 511 512\n", "areas at 0 and 511 overlap"),
        ("/d 512 512\n/d 0x200 512\n", "areas at 512 and 512 overlap"),
    ] {
        assert_eq!(FwEnv::parse(text).unwrap_err().to_string(), error, "{text:?}");
    }
}

#[test]
fn the_yaml_form_is_refused_by_name() {
    for text in ["---\nuboot:\n", "uboot:\n  size : 0x4000\n  devices:\n    - path : /dev/mtd0\n"] {
        assert_eq!(FwEnv::parse(text), Err(FwEnvError::Yaml { line: 1 }), "{text}");
    }
}

#[test]
fn a_block_device_over_flash_is_no_raw_flash() {
    assert!(FwEnv::parse("/dev/mtdblock0 0 512\n/dev/mtdblock0 512 512\n").is_ok());
}
