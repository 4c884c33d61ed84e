{{- define "portcullis.image" -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}{{ if .Values.image.digest }}@{{ .Values.image.digest }}{{ end }}
{{- end }}

{{- define "portcullis.config" -}}
{{ if not .Values.config }}{{ fail "set `config`: the plugin's configuration, docs/configuration.md" }}{{ end }}{{ toJson .Values.config }}
{{- end }}
