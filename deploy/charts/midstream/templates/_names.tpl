{{- define "midstream.name" -}}
{{- $name := ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) (contains .Chart.Name .Release.Name) -}}
{{- /* The name of a Service has 63 characters at most, and `-broker` is added. A release's own has 53. */ -}}
{{ $name | trunc 56 | trimSuffix "-" }}
{{- end }}

{{- /* Of a room, `broker` or `worker`: (list $ "broker"). */}}
{{- define "midstream.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: midstream
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "midstream.labels" -}}
{{ include "midstream.selector" . }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
helm.sh/chart: {{ (index . 0).Chart.Name }}-{{ (index . 0).Chart.Version }}
{{- end }}

{{- define "midstream.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end -}}
{{- end }}

{{- define "midstream.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "midstream.name" .) }}
{{- end }}

{{- /* The settings of a room, as a container's environment: (list $ "broker" dict). What the chart sets stands in the dict. */}}
{{- define "midstream.environment" -}}
{{- $root := index . 0 }}{{ $room := index . 1 }}{{ $own := index . 2 }}
{{- $all := deepCopy $own }}
{{- range list $root.Values.settings (get $root.Values $room).settings }}
{{- range $name, $value := . }}
{{- if hasKey $own $name }}{{ fail (printf "%s: the chart sets it by a value of its own, on which ports and times of the pod depend" $name) }}{{ end }}
{{- if has $name (list "MIDSTREAM_API_KEYS" "MIDSTREAM_TOKEN_SECRETS" "MIDSTREAM_REDIS_PASSWORD" "MIDSTREAM_QUEUE_REDIS_PASSWORD" "OPENAI_API_KEY" "ANTHROPIC_API_KEY") }}
{{- fail (printf "%s: everybody who may look at a pod reads its settings. Put it into a Secret, and its name into secrets.%s.keys" $name $room) }}
{{- end }}
{{- $_ := set $all $name $value }}
{{- end }}
{{- end }}
{{- range $name, $value := $all }}
- name: {{ $name }}
  {{- /* Helm reads whole numbers as floating ones, and would write a million as 1e+06. */}}
  {{- $isWhole := and (kindIs "float64" $value) (eq (toString (floor $value)) (toString $value)) }}
  value: {{ ternary (int64 $value) $value $isWhole | toString | quote }}
{{- end }}
{{- range (get $root.Values.secrets $room).keys }}
- name: {{ . }}_FILE
  value: /run/secrets/midstream/{{ . }}
{{- end }}
{{- end }}

{{- /* What all pods have in common, below `spec`. */}}
{{- define "midstream.pod" -}}
{{- $root := index . 0 }}{{ $room := index . 1 }}
serviceAccountName: {{ include "midstream.serviceAccount" $root }}
automountServiceAccountToken: false
enableServiceLinks: false  # their variables begin with MIDSTREAM_, as settings do
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- with $root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "midstream.selector" . | nindent 8 }}
{{- with get $root.Values $room }}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
volumes:
  - name: tmp
    emptyDir: {sizeLimit: 64Mi}
  - name: secrets
    secret:
      secretName: {{ (get $root.Values.secrets $room).name }}
      defaultMode: 0440
{{- end }}

{{- define "midstream.container" -}}
image: {{ include "midstream.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
  - {name: secrets, mountPath: /run/secrets/midstream, readOnly: true}
{{- end }}
