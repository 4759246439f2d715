{{- define "steerstream.name" -}}
{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "steerstream.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "steerstream.labels" -}}
{{ include "steerstream.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}
{{/* The port whose health the kubelet asks for. */}}
{{- define "steerstream.probed" -}}
{{ if .Values.tls.secret }}50052{{ else }}50051{{ end }}
{{- end }}
