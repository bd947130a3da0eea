#!/usr/bin/env bash
# molecule.sh SCENARIO DISTRIBUTION [IMAGE]: `molecule test` for one scenario on one distribution of the lab.
# A scenario whose role builds on a gateway begins with the IMAGE that has one, where that is given and of the distribution:
# its installation is another scenario's.
set -euo pipefail
cd "$(dirname "$0")/.."

scenario=$1 distribution=$2 image=${3:-}
host=m-$scenario-$distribution
export CLAWOPS_DISTRIBUTION=$distribution CLAWOPS_IMAGE=$distribution
if [[ -n $image && $distribution == debian12 ]] && grep -q 'scenario_needs:.*gateway' "molecule/$scenario/molecule.yml"; then
  CLAWOPS_IMAGE=$image
fi
# As in tests/lab/hosts.sh.
if [[ $distribution == ubuntu2604 && -d /sys/fs/cgroup/unified ]]; then export CLAWOPS_CGROUPS=/sys/fs/cgroup/unified; fi
# A folder for each, so that the distributions of a scenario may run at once; and a home, where the driver leaves a file for
# every host that it makes.
export MOLECULE_EPHEMERAL_DIRECTORY=$PWD/.ansible/molecule/$scenario-$distribution
export CLAWOPS_LAB_CACHE=${CLAWOPS_LAB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/clawops-lab}
export HOME=$MOLECULE_EPHEMERAL_DIRECTORY/home
# Molecule reads the files of all scenarios first where it is not told of one.
export MOLECULE_GLOB=molecule/$scenario/molecule.yml

# In place of Molecule's own destruction, which is a run of Ansible that waits in steps of 5 s, twice for each scenario.
clean() {
  tests/lab/lab.sh down "$host"
  rm -rf "$MOLECULE_EPHEMERAL_DIRECTORY"
}
clean
trap clean EXIT
mkdir -p "$HOME"
molecule test --destroy never --no-command-borders --scenario-name "$scenario" 2>&1 | sed --unbuffered "s/^/$scenario $distribution | /"
