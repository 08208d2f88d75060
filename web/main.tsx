/** The page. */
import { render } from "preact";
import { ClusterView } from "./ClusterView.tsx";
import { EditorPane, openAll } from "./EditorPane.tsx";
import { followServer } from "./followServer.ts";
import { Header } from "./Header.tsx";
import { lazily } from "./lazily.tsx";
import { PacketForm } from "./PacketForm.tsx";
import { Steps } from "./Steps.tsx";
import { isServed, servedFiles } from "./served.ts";
import { decodeState } from "./share.ts";
import {
  cluster,
  followAddress,
  generation,
  isBroken,
  isBusy,
  openFiles,
  openFirst,
  report,
  said,
  showState,
  trouble,
  view,
} from "./state.ts";
import { VerdictBar } from "./VerdictBar.tsx";
import { WalkView } from "./WalkView.tsx";

const MatrixView = lazily("the matrix", async () => (await import("./MatrixView.tsx")).MatrixView);
const CompareView = lazily("compare", async () => (await import("./CompareView.tsx")).CompareView);
const TimelineView = lazily("the timeline", async () => (await import("./TimelineView.tsx")).TimelineView);
const ReplayView = lazily("replay", async () => (await import("./ReplayView.tsx")).ReplayView);

function Page() {
  return (
    <>
      <Header />
      <p class="visually-hidden" role="status">
        {said.value}
      </p>
      {trouble.value !== undefined && (
        <p class="trouble" role="alert">
          {trouble.value}
          <button
            type="button"
            class="quiet"
            aria-label="Dismiss"
            onClick={() => {
              trouble.value = undefined;
            }}
          >
            ×
          </button>
        </p>
      )}
      <main
        class="work"
        aria-busy={isBusy.value}
        data-generation={generation.value}
        onDragOver={(event) => event.preventDefault()}
        onDrop={(event) => {
          event.preventDefault();
          openAll(event.dataTransfer?.files ?? null).catch(report);
        }}
      >
        <EditorPane />
        <div class="stage">
          {isBroken.value && (
            <p class="broken">
              The manifests have errors.
              {cluster.value !== undefined && " What stands here is of them as they were before."}
            </p>
          )}
          <Stage />
        </div>
      </main>
    </>
  );
}

function Stage() {
  switch (view.value) {
    case "walk":
      return (
        <>
          <ClusterView />
          <PacketForm />
          <Steps />
          <VerdictBar />
          <WalkView />
        </>
      );
    case "matrix":
      return <MatrixView />;
    case "compare":
      return <CompareView />;
    case "timeline":
      return <TimelineView />;
    case "replay":
      return <ReplayView />;
  }
}

async function start(): Promise<void> {
  const opened = location.hash;
  const served = isServed() ? await servedFiles() : undefined;
  const state = opened.length > 1 ? await decodeState(opened.slice(1)) : undefined;
  if (state !== undefined) await showState(state, served);
  else if (served !== undefined && served.files.length > 0)
    await openFiles(served.files, served.scenario, { kind: "served" });
  else await openFirst();
  if (opened.length > 1 && state === undefined) trouble.value = "the link is damaged; here is an example instead";
  if (served !== undefined) followServer();
  followAddress(opened);
}

const place = document.getElementById("page");
if (place === null) throw new Error("index.html has no place for the page");
render(<Page />, place);
start().catch(report);
