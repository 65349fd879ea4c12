#!/bin/sh
# `build.sh FOLDER` puts Kubernetes's programs for kubernetes.test.ts into FOLDER. They are compiled from the source package of Debian 12,
# whatever this machine has: the last one with the servers in it, and all that they need. Two processors take about ten minutes.
# It needs gcc and dpkg-dev, and installs nothing.
set -eu
mkdir -p "$1"
folder=$(cd "$1" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

# Lists of packages of its own, from the archive that this machine uses.
archive=$(apt-get indextargets --format '$(ORIGIN) $(REPO_URI)' 'Created-By: Packages' | sed -n 's/^Debian //p' | head -n 1)
key=/usr/share/keyrings/debian-archive-keyring.gpg
mkdir -p lists/partial cache/archives/partial
for kind in deb deb-src; do echo "$kind [signed-by=$key] $archive bookworm main"; done > sources.list
cat > apt.conf << END
Dir::Etc::sourcelist "$work/sources.list";
Dir::Etc::sourceparts "-";
Dir::State::lists "$work/lists";
Dir::Cache "$work/cache";
APT::Sandbox::User "root";
Acquire::Languages "none";
END
export APT_CONFIG="$work/apt.conf"
apt-get -q update
apt-get -q source --download-only kubernetes
apt-get -q download golang-1.19-go golang-1.19-src etcd-server kubernetes-client
for package in *.deb; do dpkg -x "$package" root; done
cp root/usr/bin/etcd root/usr/bin/kubectl "$folder"

# With GOPATH, as Debian builds it: its go.mod is too old for this compiler.
export GOROOT="$work/root/usr/lib/go-1.19" GOPATH="$work/go" GOCACHE="$work/go-cache" GO111MODULE=off CGO_ENABLED=0
mkdir -p go/src/k8s.io
dpkg-source --no-check -x kubernetes_*.dsc go/src/k8s.io/kubernetes
cd go/src/k8s.io/kubernetes
go() { "$GOROOT/bin/go" "$@"; }

# The only generated file that the package lacks.
go build -p 2 -o "$work/openapi-gen" ./vendor/k8s.io/kube-openapi/cmd/openapi-gen
marked() { grep -rl '+k8s:openapi-gen=' --include='*.go' "$@" | xargs -n 1 dirname | sort -u; }
packages=$(
  (cd staging/src && marked k8s.io) | grep -vE '^k8s.io/(code-generator|sample-apiserver)/' | sed 's#^#k8s.io/kubernetes/vendor/#'
  marked pkg cmd plugin | sed 's#^#k8s.io/kubernetes/#'
)
"$work/openapi-gen" --logtostderr -i "$(echo "$packages" | paste -sd ,)" -p k8s.io/kubernetes/pkg/generated/openapi \
  -O zz_generated.openapi -h vendor/k8s.io/code-generator/hack/boilerplate.go.txt -r "$work/violations"

for program in kube-apiserver kube-controller-manager kube-proxy kube-scheduler kubelet; do
  go build -p 2 -ldflags "-s -w" -o "$folder/$program" "./cmd/$program"
done
gcc -Os -static -o "$folder/pause" build/pause/linux/pause.c
