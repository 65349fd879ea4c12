import { RootCommand } from "@bomb.sh/tab";
import { Argument } from "@commander-js/extra-typings";
import { printed } from "../../printed.ts";
import type { Define } from "../../tools.ts";

/** The name of this program, in the shell's path. */
const PROGRAM = "slipway";

const EXAMPLES = `
To have it in every new shell:
  bash  echo 'source <(slipway completion bash)' >> ~/.bashrc    (needs the package bash-completion)
  zsh   echo 'source <(slipway completion zsh)' >> ~/.zshrc      (after compinit)
  fish  slipway completion fish > ~/.config/fish/completions/slipway.fish`;

/** `slipway completion`: prints the script that makes a shell ask `slipway complete` for completions. */
export const define: Define = (command, { out }) => {
  command
    .description("Print the script that makes a shell complete commands, options and names")
    .addArgument(new Argument("<shell>", "The shell.").choices(["bash", "zsh", "fish"]))
    .addHelpText("after", EXAMPLES)
    .action((shell) => {
      const lines = printed(() => new RootCommand().setup(PROGRAM, PROGRAM, shell));
      // Without names of our own to offer, bash completes files.
      if (shell === "bash") lines.push(`complete -o default -F __${PROGRAM}_complete ${PROGRAM}`);
      out.raw(`${lines.join("\n")}\n`);
    });
};
