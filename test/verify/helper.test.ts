/** Where compiled helpers are kept. */
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, vi } from "vitest";
import { cacheFolder } from "../../verify/kernel/helper.ts";

// Asked for all folders of a path, Node.js itself never ends there: see the rule in test/architecture.test.ts.
it.runIf(process.platform === "linux")("a cache below a folder that can have none is passed over", () => {
  const folder = mkdtempSync(join(tmpdir(), "chainwalk-helper-"));
  vi.stubEnv("XDG_CACHE_HOME", "/proc/none/deeper");
  vi.stubEnv("TMPDIR", folder);
  try {
    const cache = cacheFolder();
    expect(cache.startsWith(`${folder}/`)).toBe(true);
    expect(statSync(cache).mode & 0o777).toBe(0o700);
  } finally {
    vi.unstubAllEnvs();
    rmSync(folder, { recursive: true });
  }
});
