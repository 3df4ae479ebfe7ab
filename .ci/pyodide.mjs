// Runs pytest in Pyodide: the newest CPython, compiled to WebAssembly, which npm has where no interpreter can be had.
//
//     node pyodide.mjs SITE_PACKAGES DIRECTORY [PYTEST_ARGUMENTS]...
//
// It has neither threads nor processes: a test that starts one is skipped.

import { loadPyodide } from "pyodide";

const [packages, directory, ...options] = process.argv.slice(2);
const python = await loadPyodide({ env: { HOME: "/tmp", PYTHONDONTWRITEBYTECODE: "1" } });
for (const [root, place] of [[packages, "/packages"], [directory, "/tests"]]) {
  python.FS.mkdirTree(place);
  python.FS.mount(python.FS.filesystems.NODEFS, { root }, place);
}
python.globals.set("options", python.toPy(options));
process.exitCode = python.runPython(`
import os, sys

sys.path.insert(0, "/packages")
os.chdir("/tests")

import pytest

os.geteuid = os.getuid  # the only one that it has

class WithoutThreads:
    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item):
        try:
            return (yield)
        except (OSError, RuntimeError) as error:
            if not any(words in str(error) for words in ("start new thread", "support processes")):
                raise
            pytest.skip("no threads and processes here")

print(sys.version)
int(pytest.main(list(options), plugins=[WithoutThreads()]))
`);
