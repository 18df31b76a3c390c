import os

import pytest

from ssd.common.machine import free_memory, usable_cores

GB = 10**9
UNLIMITED_V1 = "9223372036854771712"


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Writes files of the kernel; 16 cores, and 64 GB that are available."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))

    def write(files):
        available = 64 * GB // 1024
        text = f"MemTotal: 99999999 kB\nMemFree: 1000 kB\nMemAvailable: {available} kB\n"
        for name, content in {"proc/meminfo": text, **files}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{content}\n")
        return tmp_path

    return write


def memory_v2(folder, limit, used, inactive, stat="anon 7\nactive_file 999\n"):
    return {
        f"sys/fs/cgroup/{folder}memory.max": limit,
        f"sys/fs/cgroup/{folder}memory.current": used,
        f"sys/fs/cgroup/{folder}memory.stat": f"{stat}inactive_file {inactive}",
    }


def memory_v1(folder, limit, used, inactive):
    return {
        f"sys/fs/cgroup/memory/{folder}memory.limit_in_bytes": limit,
        f"sys/fs/cgroup/memory/{folder}memory.usage_in_bytes": used,
        f"sys/fs/cgroup/memory/{folder}memory.stat": "inactive_file 5\n"
        f"total_inactive_file {inactive}",
    }


def test_a_machine_without_groups_gives_all_that_is_there(machine):
    root = machine({})
    assert usable_cores(root) == 16
    assert free_memory(root) == 64 * GB // 1024 * 1024


def test_a_machine_that_tells_nothing_has_no_memory_to_give(tmp_path):
    assert free_memory(tmp_path) == 0


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("max 100000", 16), ("400000 100000", 4), ("250000 100000", 2), ("50000 100000", 1)],
)
def test_a_container_of_version_2_limits_the_cores(machine, quota, cores):
    root = machine({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": quota})
    assert usable_cores(root) == cores


@pytest.mark.parametrize(("quota", "cores"), [(-1, 16), (300000, 3), (2000000, 16)])
def test_a_container_of_version_1_limits_the_cores(machine, quota, cores):
    folder = "sys/fs/cgroup/cpu"
    root = machine(
        {
            "proc/self/cgroup": "5:memory:/docker/ab\n4:cpu,cpuacct:/docker/ab\n0::/",
            f"{folder}/cpu.cfs_quota_us": quota,
            f"{folder}/cpu.cfs_period_us": 100000,
        }
    )
    assert usable_cores(root) == cores


def test_affinity_limits_the_cores(machine, monkeypatch):
    root = machine({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "800000 100000"})
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5})
    assert usable_cores(root) == 2


def test_page_cache_that_can_be_given_up_is_free(machine):
    root = machine({"proc/self/cgroup": "0::/", **memory_v2("", 8 * GB, 5 * GB, 2 * GB)})
    assert free_memory(root) == 5 * GB


def test_every_group_around_this_process_limits_it(machine):
    files = {"proc/self/cgroup": "0::/slice/job"}
    files |= memory_v2("slice/job/", "max", 1 * GB, 0)
    files |= memory_v2("slice/", 10 * GB, 4 * GB, 0)
    files |= memory_v2("other/", 1 * GB, 1 * GB, 0)
    files |= {"sys/fs/cgroup/slice/cpu.max": "200000 100000"}
    root = machine(files)
    assert free_memory(root) == 6 * GB
    assert usable_cores(root) == 2


def test_a_container_of_version_1_sees_its_group_at_the_top(machine):
    """Its path is the one on the host, and leads nowhere."""
    files = {"proc/self/cgroup": "5:memory:/docker/ab\n4:cpu,cpuacct:/docker/ab"}
    assert free_memory(machine(files | memory_v1("", 4 * GB, 3 * GB, 1 * GB))) == 2 * GB
    assert free_memory(machine(files | memory_v1("", UNLIMITED_V1, 3 * GB, 0))) > 63 * GB
    assert free_memory(machine(files | memory_v1("docker/ab/", 4 * GB, 1 * GB, 0))) == 3 * GB


def test_a_group_over_its_limit_has_nothing_left(machine):
    root = machine({"proc/self/cgroup": "0::/", **memory_v2("", 1 * GB, 2 * GB, 0)})
    assert free_memory(root) == 0


def test_this_machine():
    assert 1 <= usable_cores() <= os.cpu_count()
    assert 0 < free_memory() < os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
