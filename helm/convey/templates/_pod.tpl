{{/*
The pod of every role. Takes a dict: root (the chart's scope), component (api or worker), role (all, api or worker),
resources.
*/}}
{{- define "convey.pod" -}}
{{- $root := .root -}}
{{- with $root -}}
metadata:
  annotations:
    checksum/config: {{ include "convey.config" . | sha256sum }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  labels:
    {{- include "convey.labels" . | nindent 4 }}
    app.kubernetes.io/component: {{ $.component }}
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "convey.serviceAccountName" . }}
  automountServiceAccountToken: false
  # A Service called convey would put CONVEY_PORT into the environment, which is no setting.
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ include "convey.grace" . }}
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  securityContext:
    {{- toYaml .Values.podSecurityContext | nindent 4 }}
  containers:
    - name: convey
      image: {{ include "convey.image" . | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args: [serve, --role, {{ $.role }}]
      env:
        - name: CONVEY_CONFIG
          value: /etc/convey/convey.yaml
        {{- with .Values.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with .Values.extraEnvFrom }}
      envFrom:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      ports:
        - name: http
          containerPort: 8000
        - name: metrics
          containerPort: {{ .Values.metrics.port }}
      # The native sleep needs no shell: the pod goes on serving while it is taken out of every balancer.
      lifecycle:
        preStop:
          sleep:
            seconds: {{ .Values.drain.preStopSeconds }}
      startupProbe:
        httpGet: {path: /livez, port: http}
        {{- toYaml .Values.probes.startup | nindent 8 }}
      livenessProbe:
        httpGet: {path: /livez, port: http}
        {{- toYaml .Values.probes.liveness | nindent 8 }}
      readinessProbe:
        httpGet: {path: /readyz, port: http}
        {{- toYaml .Values.probes.readiness | nindent 8 }}
      {{- with $.resources }}
      resources:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        {{- toYaml .Values.securityContext | nindent 8 }}
      volumeMounts:
        - {name: config, mountPath: /etc/convey, readOnly: true}
        - {name: tmp, mountPath: /tmp}
        {{- if include "convey.isSqlite" . }}
        - {name: data, mountPath: /var/lib/convey}
        {{- end }}
        {{- if .Values.secrets.existingSecret }}
        - {name: secrets, mountPath: /run/secrets/convey, readOnly: true}
        {{- end }}
        {{- if .Values.externalRedis.existingSecret }}
        - {name: redis, mountPath: /run/secrets/redis, readOnly: true}
        {{- end }}
        {{- with .Values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    {{- with .Values.extraContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  volumes:
    - name: config
      configMap: {name: {{ include "convey.fullname" . }}}
    - name: tmp
      emptyDir: {sizeLimit: 64Mi}
    {{- with .Values.secrets.existingSecret }}
    - name: secrets
      secret: {secretName: {{ . }}, defaultMode: 0440}
    {{- end }}
    {{- with .Values.externalRedis.existingSecret }}
    - name: redis
      secret: {secretName: {{ . }}, defaultMode: 0440}
    {{- end }}
    {{- with .Values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if .Values.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- toYaml .Values.topologySpreadConstraints | nindent 4 }}
  {{- else if not (include "convey.isSqlite" .) }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: topology.kubernetes.io/zone
      whenUnsatisfiable: ScheduleAnyway
      matchLabelKeys: [pod-template-hash]
      labelSelector:
        matchLabels:
          {{- include "convey.selector" . | nindent 10 }}
          app.kubernetes.io/component: {{ $.component }}
  {{- end }}
{{- end -}}
{{- end -}}

{{/* One Deployment. Takes the dict of convey.pod, and name, replicas (absent where something else counts them). */}}
{{- define "convey.deployment" -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .name }}
  labels:
    {{- include "convey.labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
spec:
  {{- if hasKey . "replicas" }}
  replicas: {{ .replicas }}
  {{- end }}
  revisionHistoryLimit: 3
  strategy:
    type: RollingUpdate
    rollingUpdate: {maxUnavailable: 0, maxSurge: 1}
  selector:
    matchLabels:
      {{- include "convey.selector" .root | nindent 6 }}
      app.kubernetes.io/component: {{ .component }}
  template:
    {{- include "convey.pod" . | nindent 4 }}
{{- end -}}
