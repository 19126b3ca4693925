# Gybe's boot script for U-Boot: loads slot A or B, and tries an armed slot a counted number of times.
#
#   mkimage -A arm64 -T script -d boot.cmd boot.scr
#
# The same function in Rust, with the reasons: core/src/boot/decision.rs
# What it reads and writes: docs/formats/boot-environment.md
# Commands: test itest setexpr load env (import, export) fatwrite or saveenv, booti, reset; env load
# where the environment is a file of FAT or ext4, hash for the check of kernel and initramfs, and part
# to name the root device for certain. Nothing but our variables is set in the environment before it is
# saved: every other name here is a variable of the shell.
#
# Whatever a damaged medium makes of it, no line waits for anybody: a command that fails leads on to the
# other slot, or to a reset.

# ---- For the integrator ---------------------------------------------------------------------------

# The disk with the slots, such as "mmc 0": the one that this script was loaded from.
gybe_disk="${devtype} ${devnum}"

# Where the environment is: `redundant` is U-Boot's own, with two copies; `files` are two files in
# gybe_env_part, for a U-Boot that has no redundant environment.
gybe_kind=redundant
gybe_env_part="${gybe_disk}:1"
gybe_file_1=gybe.env
gybe_file_2=gybe2.env

# The boot target and the root target of each slot.
gybe_boot_a="${gybe_disk}:2"
gybe_root_a="${gybe_disk}:3"
gybe_boot_b="${gybe_disk}:4"
gybe_root_b="${gybe_disk}:5"

# Where the initramfs finds the root target of each slot, if not by the PARTUUID of the partition above:
# another disk may have partitions with the same labels.
gybe_args_a=""
gybe_args_b=""

# Arguments of this device. They are not signed: never init=, root* or systemd.verity*.
gybe_local=""

# A device tree in the boot target, such as dtb/vendor/board.dtb; empty: the one U-Boot runs on.
gybe_dtb=""

# Memory for small files, 64 KiB each. Kernel and initramfs are loaded when these are done with.
gybe_at=${kernel_addr_r}
gybe_at_2=${ramdisk_addr_r}

# ---- The contract, version 1 ----------------------------------------------------------------------

# Of two files the one with a right checksum and the higher number is in force.
if test "${gybe_kind}" = "files"; then
  gybe_found=0
  gybe_seq_1=0
  if load ${gybe_env_part} ${gybe_at} ${gybe_file_1}; then
    if env import -c ${gybe_at} 0x1000 gybe_seq; then
      gybe_found=1
      gybe_seq_1=${gybe_seq}
    fi
  fi
  if load ${gybe_env_part} ${gybe_at_2} ${gybe_file_2}; then
    if env import -c ${gybe_at_2} 0x1000 gybe_seq; then
      if test "${gybe_found}" = "0"; then
        gybe_found=2
      elif itest 0x${gybe_seq} -gt 0x${gybe_seq_1}; then
        gybe_found=2
      fi
    fi
  fi
  gybe_next=${gybe_file_2}
  if test "${gybe_found}" = "1"; then
    env import -c ${gybe_at} 0x1000 gybe_seq gybe_order gybe_a gybe_b gybe_try gybe_tries gybe_failed gybe_end
  elif test "${gybe_found}" = "2"; then
    env import -c ${gybe_at_2} 0x1000 gybe_seq gybe_order gybe_a gybe_b gybe_try gybe_tries gybe_failed gybe_end
    gybe_next=${gybe_file_1}
  else
    setenv gybe_end
  fi
fi

# Without a whole state this is a factory device: A, then B.
gybe_first=a
gybe_second=b
gybe_open=""
gybe_good_a=bad
gybe_good_b=bad
if test "${gybe_end}" = "1"; then
  gybe_good_a=${gybe_a}
  gybe_good_b=${gybe_b}
  gybe_open=${gybe_try}
  if test "${gybe_order}" = "b"; then
    gybe_first=b
    gybe_second=a
  fi
fi

# Good before not good, the preferred one first.
gybe_good=${gybe_good_a}
if test "${gybe_first}" = "b"; then
  gybe_good=${gybe_good_b}
fi
if test "${gybe_good}" != "good"; then
  if test "${gybe_first}" = "a" -a "${gybe_good_b}" = "good"; then
    gybe_first=b
    gybe_second=a
    gybe_good=good
  elif test "${gybe_first}" = "b" -a "${gybe_good_a}" = "good"; then
    gybe_first=a
    gybe_second=b
    gybe_good=good
  fi
fi

# A try is spent before it is made, and only a try that could be stored is made.
gybe_trial=""
gybe_slots="${gybe_first} ${gybe_second}"
if test -n "${gybe_open}"; then
  gybe_left=""
  gybe_below=0
  for gybe_n in 1 2 3 4 5 6 7; do
    if test "${gybe_tries}" = "${gybe_n}"; then
      gybe_left=${gybe_below}
    fi
    gybe_below=${gybe_n}
  done
  if test -n "${gybe_left}"; then
    setenv gybe_tries ${gybe_left}
  else
    setenv gybe_failed "${gybe_try}:tries"
    setenv gybe_try
    setenv gybe_tries
  fi
  gybe_saved=0
  if test "${gybe_kind}" = "files"; then
    setexpr gybe_seq 0x${gybe_seq} + 1
    if env export -c -s 0x1000 ${gybe_at} gybe_seq gybe_order gybe_a gybe_b gybe_try gybe_tries gybe_failed gybe_end; then
      if fatwrite ${gybe_env_part} ${gybe_at} ${gybe_next} 0x1000; then
        gybe_saved=1
      fi
    fi
  else
    if saveenv; then
      gybe_saved=1
      # U-Boot says so, too, where it could not write a file. Where there is a command for it, what is
      # stored is loaded again, which forgets what never was.
      gybe_control=${fdtcontroladdr}
      if env load; then
        setenv fdtcontroladdr ${gybe_control}
        if test "${gybe_tries}" != "${gybe_left}"; then
          gybe_saved=0
        fi
      fi
    fi
  fi
  if test -n "${gybe_left}"; then
    if test "${gybe_saved}" = "1"; then
      gybe_slots=${gybe_open}
      gybe_trial=" gybe.trial=1"
    elif test "${gybe_good}" = "good" -a "${gybe_second}" = "${gybe_open}"; then
      # A slot on trial does not stand in for a Good one.
      gybe_slots=${gybe_first}
    fi
  fi
fi

for gybe_slot in ${gybe_slots}; do
  echo "gybe: slot ${gybe_slot}${gybe_trial}"
  gybe_part=${gybe_boot_a}
  gybe_root=${gybe_root_a}
  gybe_args=${gybe_args_a}
  if test "${gybe_slot}" = "b"; then
    gybe_part=${gybe_boot_b}
    gybe_root=${gybe_root_b}
    gybe_args=${gybe_args_b}
  fi
  gybe_ok=0
  if load ${gybe_part} ${gybe_at} gybe.env; then
    if env import -t ${gybe_at} ${filesize} gybe_format gybe_cmdline gybe_kernel_sha256 gybe_initrd_sha256; then
      if test "${gybe_format}" = "1"; then
        gybe_ok=1
      fi
    fi
  fi
  # A U-Boot without the hash command loads kernel and initramfs unchecked.
  if test "${gybe_ok}" = "1"; then
    if load ${gybe_part} ${kernel_addr_r} vmlinuz; then
      if hash sha256 ${kernel_addr_r} ${filesize} gybe_sha256; then
        if test "${gybe_sha256}" != "${gybe_kernel_sha256}"; then
          gybe_ok=0
        fi
      fi
    else
      gybe_ok=0
    fi
  fi
  gybe_fdt=${fdtcontroladdr}
  if test -z "${gybe_fdt}"; then
    # Lost with `env load`, which takes away what U-Boot found out about its board.
    gybe_fdt=${fdt_addr}
  fi
  if test "${gybe_ok}" = "1" -a -n "${gybe_dtb}"; then
    gybe_fdt=${fdt_addr_r}
    if load ${gybe_part} ${fdt_addr_r} ${gybe_dtb}; then
      true
    else
      gybe_ok=0
    fi
  fi
  if test "${gybe_ok}" = "1"; then
    if load ${gybe_part} ${ramdisk_addr_r} initrd.img; then
      if hash sha256 ${ramdisk_addr_r} ${filesize} gybe_sha256; then
        if test "${gybe_sha256}" != "${gybe_initrd_sha256}"; then
          gybe_ok=0
        fi
      fi
    else
      gybe_ok=0
    fi
  fi
  if test "${gybe_ok}" = "1" -a -z "${gybe_args}"; then
    # Without the command, or without such a partition, the label must do.
    gybe_device="PARTLABEL=root_${gybe_slot}"
    if part uuid ${gybe_root} gybe_uuid; then
      if test -n "${gybe_uuid}"; then
        gybe_device="PARTUUID=${gybe_uuid}"
      fi
    fi
    gybe_args="systemd.verity_root_data=${gybe_device} systemd.verity_root_hash=${gybe_device}"
  fi
  if test "${gybe_ok}" = "1"; then
    setenv bootargs "${gybe_cmdline} gybe.slot=${gybe_slot}${gybe_trial} gybe.loader=1 ${gybe_args} ${gybe_local}"
    booti ${kernel_addr_r} ${ramdisk_addr_r}:${filesize} ${gybe_fdt}
  fi
  echo "gybe: slot ${gybe_slot} cannot be loaded"
done
reset
