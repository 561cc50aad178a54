{{/* Names and labels. */}}

{{- define "convey.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "convey.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains (include "convey.name" .) .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "convey.name" .) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What selects: never the chart or a version, as selectors cannot change. */}}
{{- define "convey.selector" -}}
app.kubernetes.io/name: {{ include "convey.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "convey.labels" -}}
{{ include "convey.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "convey.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "convey.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "convey.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* The store: the scheme of its URL is the engine. */}}

{{- define "convey.storeUrl" -}}
{{- $redis := .Values.externalRedis -}}
{{- if $redis.host -}}
{{- printf "%s://%s:%d/%d" (ternary "rediss" "redis" $redis.tls) $redis.host (int $redis.port) (int $redis.database) -}}
{{- else -}}
{{- default "sqlite:////var/lib/convey/convey.db" .Values.store.url -}}
{{- end -}}
{{- end -}}

{{- define "convey.isSqlite" -}}
{{- if hasPrefix "sqlite:" (include "convey.storeUrl" .) }}true{{ end -}}
{{- end -}}

{{/* The configuration file: what is plain, and the names of the files that hold secrets. */}}
{{- define "convey.config" -}}
{{- $drain := .Values.drain -}}
{{- $server := dict
  "host" "0.0.0.0"
  "port" 8000
  "metrics_host" "0.0.0.0"
  "metrics_port" (int .Values.metrics.port)
  "docs" false
  "graceful_shutdown" (printf "%ds" (int $drain.gracefulSeconds))
  "drain" (printf "%ds" (int $drain.workerSeconds)) -}}
{{- $store := dict "url" (include "convey.storeUrl" .) "durability" .Values.store.durability -}}
{{- with .Values.store.promise }}{{ $_ := set $store "promise" . }}{{ end -}}
{{- if .Values.store.encryptionKeys -}}
{{- if not .Values.secrets.existingSecret -}}
{{- fail "store.encryptionKeys needs secrets.existingSecret: the Secret that has the keys" -}}
{{- end -}}
{{- $keys := list -}}
{{- range .Values.store.encryptionKeys -}}
{{- $keys = append $keys (dict "id" .id "key" (dict "file" (printf "/run/secrets/convey/%s" .secret))) -}}
{{- end -}}
{{- $_ := set $store "encryption" (dict "keys" $keys) -}}
{{- end -}}
{{- with .Values.externalRedis -}}
{{- if .username }}{{ $_ := set $store "username" .username }}{{ end -}}
{{- if .existingSecret -}}
{{- $_ := set $store "password" (dict "file" (printf "/run/secrets/redis/%s" .passwordKey)) -}}
{{- if .caKey }}{{ $_ := set $store "tls_ca" (printf "/run/secrets/redis/%s" .caKey) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- $destinations := list -}}
{{- range $name, $given := .Values.destinations -}}
{{- $one := merge (dict "name" $name) (omit $given "secrets") -}}
{{- range $setting, $key := $given.secrets -}}
{{- if not $.Values.secrets.existingSecret -}}
{{- fail (printf "destinations.%s.secrets needs secrets.existingSecret: the Secret that has the key %s" $name $key) -}}
{{- end -}}
{{- $_ := set $one $setting (dict "file" (printf "/run/secrets/convey/%s" $key)) -}}
{{- end -}}
{{- $destinations = append $destinations $one -}}
{{- end -}}
{{- $tree := mergeOverwrite (dict "server" $server) (deepCopy .Values.config) -}}
{{- $_ := set $tree "store" (mergeOverwrite $store .Values.store.extra) -}}
{{- $_ := set $tree "sources" .Values.sources -}}
{{- $_ := set $tree "destinations" $destinations -}}
{{- toYaml $tree -}}
{{- end -}}

{{/* How long Kubernetes waits before SIGKILL: what the process was promised, and a little more. Never a free value. */}}
{{- define "convey.grace" -}}
{{- add .Values.drain.preStopSeconds .Values.drain.gracefulSeconds .Values.drain.workerSeconds 5 -}}
{{- end -}}
