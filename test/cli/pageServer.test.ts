/** What `chainwalk serve` answers, without a browser. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { get } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { PageServer } from "../../cli/pageServer.ts";

describe("the server of the page", () => {
  const folder = mkdtempSync(join(tmpdir(), "chainwalk-served-"));
  const manifest = join(folder, "cluster.yaml");
  let text = "kind: first\n";
  const server = new PageServer(async () => ({ files: [{ name: "cluster.yaml", text }] }), folder);
  let address = "";

  beforeAll(async () => {
    writeFileSync(manifest, text);
    writeFileSync(join(folder, "index.html"), '<meta name="chainwalk" content="static">');
    address = await server.listen(0);
    server.watch([manifest]);
  });

  afterAll(async () => {
    await server.close();
    rmSync(folder, { recursive: true });
  });

  const manifests = async () => (await fetch(`${address}/manifests.json`)).json();

  it("tells the page of a change, and has the manifests as they are then", async () => {
    expect(await manifests()).toEqual({ files: [{ name: "cluster.yaml", text: "kind: first\n" }] });
    const changes = await fetch(`${address}/changes`);
    const reader = changes.body?.pipeThrough(new TextDecoderStream()).getReader();
    expect((await reader?.read())?.value).toBe(": listening\n\n");
    text = "kind: second\n";
    writeFileSync(manifest, text);
    expect((await reader?.read())?.value).toBe("data: changed\n\n");
    expect(await manifests()).toEqual({ files: [{ name: "cluster.yaml", text: "kind: second\n" }] });
    await reader?.cancel();
  });

  it("says in the page that it is served", async () => {
    expect(await (await fetch(address)).text()).toBe('<meta name="chainwalk" content="served">');
  });

  it.each(["/cluster.yaml", "/assets/../cluster.yaml", "/assets/%2e%2e/cluster.yaml", "/../cluster.yaml"])(
    "hands out no file but the build's: %s",
    async (path) => {
      const { hostname, port } = new URL(address);
      // Written as it stands: `fetch` would resolve the dots itself.
      const status = await new Promise((resolve, reject) => {
        get({ hostname, port, path }, (response) => {
          response.resume();
          resolve(response.statusCode);
        }).on("error", reject);
      });
      expect(status).toBe(404);
    },
  );

  it("takes no request but GET and HEAD", async () => {
    expect((await fetch(address, { method: "POST" })).status).toBe(405);
    expect((await fetch(address, { method: "HEAD" })).status).toBe(200);
  });
});
