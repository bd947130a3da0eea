#!/usr/bin/env bash
# molecule.sh COMMAND SCENARIO DISTRIBUTION [IMAGE]: one command of Molecule for one scenario on one distribution of the lab.
# For debian12 it is what `molecule COMMAND --scenario-name SCENARIO` does. A scenario whose role builds on a gateway begins
# with the IMAGE that has one, where that is given and of the distribution: its installation is another scenario's.
set -euo pipefail
cd "$(dirname "$0")/.."

command=$1 scenario=$2 distribution=$3 image=${4:-}
export CLAWOPS_DISTRIBUTION=$distribution CLAWOPS_IMAGE=$distribution
if [[ -n $image && $distribution == debian12 ]] && grep -q 'scenario_needs:.*gateway' "molecule/$scenario/molecule.yml"; then
  CLAWOPS_IMAGE=$image
fi
# As in tests/lab/hosts.sh.
if [[ $distribution == ubuntu2604 && -d /sys/fs/cgroup/unified ]]; then export CLAWOPS_CGROUPS=/sys/fs/cgroup/unified; fi
# A folder for each, so that the distributions of a scenario may run at once; and a home, where the driver leaves a file for
# every host that it makes or removes.
export MOLECULE_EPHEMERAL_DIRECTORY=$PWD/.ansible/molecule/$scenario-$distribution
export CLAWOPS_LAB_CACHE=${CLAWOPS_LAB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/clawops-lab}
export HOME=$MOLECULE_EPHEMERAL_DIRECTORY/home
mkdir -p "$HOME"
trap 'rm -rf "$HOME"' EXIT
# Molecule reads the files of all scenarios first where it is not told of one.
export MOLECULE_GLOB=molecule/$scenario/molecule.yml

molecule "$command" --no-command-borders --scenario-name "$scenario" 2>&1 | sed --unbuffered "s/^/$scenario $distribution | /"
