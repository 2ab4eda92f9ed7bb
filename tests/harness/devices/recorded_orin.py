"""A Jetson Orin Nano with JetPack 6 in its 15 W mode, as far as its files are read; put together from documentation."""

from __future__ import annotations

from pathlib import Path

CORE = "processor\t: {core}\nFeatures\t: fp asimd asimddp\nCPU implementer\t: 0x41\nCPU part\t: 0xd42\n\n"
CPUFREQ = {
    "scaling_governor": "schedutil",
    "scaling_cur_freq": "1113600",
    "scaling_min_freq": "729600",
    "scaling_max_freq": "1510400",
    "cpuinfo_max_freq": "1728000",
}
FILES: dict[str, str] = {
    "etc/os-release": 'PRETTY_NAME="Ubuntu 22.04.5 LTS"\nNAME="Ubuntu"\n',
    "etc/nv_tegra_release": "# R36 (release), REVISION: 4.0, GCID: 37537400, BOARD: generic, EABI: aarch64\n",
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0",
    "proc/cpuinfo": "".join(CORE.format(core=core) for core in range(6)),
    "proc/meminfo": "MemTotal:        7802856 kB\nMemFree: 1 kB\n",
    "etc/nvpmodel.conf": "< POWER_MODEL ID=0 NAME=15W >\nCPU_ONLINE CORE_0 1\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n",
    "var/lib/nvpmodel/status": "pmode:0000 fmode:quiet\n",
    "sys/class/devfreq/17000000.gpu/cur_freq": "306000000\n",
    "sys/class/devfreq/17000000.gpu/min_freq": "306000000\n",
    "sys/class/devfreq/17000000.gpu/max_freq": "612000000\n",
    "sys/class/devfreq/17000000.gpu/available_frequencies": "306000000 408000000 612000000 1020000000\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "51000\n",
    "sys/class/thermal/thermal_zone1/type": "gpu-thermal\n",
    "sys/class/thermal/thermal_zone1/temp": "49500\n",
    "sys/class/thermal/thermal_zone2/type": "cv0-thermal\n",
    "sys/class/thermal/thermal_zone2/temp": "-256000\n",
    "sys/class/hwmon/hwmon1/oc1_event_cnt": "2\n",
    "sys/class/hwmon/hwmon1/oc3_event_cnt": "1\n",
    **{f"sys/devices/system/cpu/cpu{core}/cpufreq/{name}": text for core in range(6) for name, text in CPUFREQ.items()},
}


def record(root: Path, **changes: str) -> Path:
    """Write the tree below `root` and return it; `changes` replace files by their path with `__` for `/`."""
    for name, text in {**FILES, **{path.replace("__", "/"): text for path, text in changes.items()}}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root
