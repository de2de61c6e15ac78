package main

import (
	"slices"
	"strconv"
	"strings"
)

// What the drivers read of a node when they connect, as far as they use it: one node of Cassandra
// 4.0 that owns the whole ring. The other columns of these tables are left out.

const (
	releaseVersion = "4.0.0"
	partitioner    = "org.apache.cassandra.dht.Murmur3Partitioner"
	dataCenter     = "datacenter1"
	rack           = "rack1"
	tokenCount     = 16
)

// The columns of a system table in the words of CREATE TABLE, so that one parser does for all.
var systemTables = map[string]string{
	"system.local": `key text PRIMARY KEY, bootstrapped text, broadcast_address inet,
		broadcast_port int, cluster_name text, cql_version text, data_center text, host_id uuid,
		listen_address inet, listen_port int, native_protocol_version text, partitioner text,
		rack text, release_version text, rpc_address inet, rpc_port int, schema_version uuid,
		tokens set<text>`,
	"system.peers": `peer inet PRIMARY KEY, data_center text, host_id uuid, preferred_ip inet,
		rack text, release_version text, rpc_address inet, schema_version uuid, tokens set<text>`,
	"system.peers_v2": `peer inet, peer_port int, data_center text, host_id uuid,
		native_address inet, native_port int, preferred_ip inet, preferred_port int, rack text,
		release_version text, schema_version uuid, tokens set<text>, PRIMARY KEY (peer, peer_port)`,
	"system_schema.keyspaces": `keyspace_name text PRIMARY KEY, durable_writes boolean,
		replication frozen<map<text, text>>`,
	"system_schema.tables": `keyspace_name text, table_name text, comment text,
		default_time_to_live int, extensions frozen<map<text, blob>>, flags frozen<set<text>>,
		gc_grace_seconds int, id uuid, PRIMARY KEY (keyspace_name, table_name)`,
	"system_schema.columns": `keyspace_name text, table_name text, column_name text,
		clustering_order text, column_name_bytes blob, kind text, position int, type text,
		PRIMARY KEY (keyspace_name, table_name, column_name)`,
	"system_schema.types": `keyspace_name text, type_name text, field_names frozen<list<text>>,
		field_types frozen<list<text>>, PRIMARY KEY (keyspace_name, type_name)`,
	"system_schema.functions": `keyspace_name text, function_name text,
		argument_types frozen<list<text>>, argument_names frozen<list<text>>, body text,
		called_on_null_input boolean, language text, return_type text,
		PRIMARY KEY (keyspace_name, function_name, argument_types)`,
	"system_schema.aggregates": `keyspace_name text, aggregate_name text,
		argument_types frozen<list<text>>, final_func text, initcond text, return_type text,
		state_func text, state_type text,
		PRIMARY KEY (keyspace_name, aggregate_name, argument_types)`,
	"system_schema.triggers": `keyspace_name text, table_name text, trigger_name text,
		options frozen<map<text, text>>, PRIMARY KEY (keyspace_name, table_name, trigger_name)`,
	"system_schema.indexes": `keyspace_name text, table_name text, index_name text, kind text,
		options frozen<map<text, text>>, PRIMARY KEY (keyspace_name, table_name, index_name)`,
	"system_schema.views": `keyspace_name text, view_name text, base_table_id uuid,
		base_table_name text, id uuid, include_all_columns boolean, where_clause text,
		PRIMARY KEY (keyspace_name, view_name)`,
	"system_virtual_schema.keyspaces": `keyspace_name text PRIMARY KEY`,
	"system_virtual_schema.tables": `keyspace_name text, table_name text, comment text,
		PRIMARY KEY (keyspace_name, table_name)`,
	"system_virtual_schema.columns": `keyspace_name text, table_name text, column_name text,
		clustering_order text, column_name_bytes blob, kind text, position int, type text,
		PRIMARY KEY (keyspace_name, table_name, column_name)`,
}

func (c *catalog) addSystemTables() {
	rows := map[string]func() []map[string]any{
		"system.local":            c.local,
		"system_schema.keyspaces": c.keyspaceRows,
		"system_schema.tables":    c.tableRows,
		"system_schema.columns":   c.columnRows,
	}
	for full, columns := range systemTables {
		keyspace, name, _ := strings.Cut(full, ".")
		made, err := parseTable(keyspace, name, tidy(columns))
		if err != nil {
			panic(err)
		}
		made.rows = rows[full]
		if made.rows == nil {
			made.rows = func() []map[string]any { return nil }
		}
		c.tables[full] = made
	}
}

func (c *catalog) local() []map[string]any {
	tokens := make([]string, tokenCount)
	for number := range tokens {
		const first, step = -1 << 63, 1 << (64 - 4)
		tokens[number] = strconv.Itoa(first + number*step + 1)
	}
	host := make([]byte, 16)
	host[0], host[6], host[8] = 1, 0x40, 0x80 // a UUID of version 4
	return []map[string]any{{
		"key":                     "local",
		"bootstrapped":            "COMPLETED",
		"broadcast_address":       c.address.IP,
		"broadcast_port":          c.address.Port,
		"cluster_name":            "void",
		"cql_version":             "3.4.5",
		"data_center":             dataCenter,
		"host_id":                 host,
		"listen_address":          c.address.IP,
		"listen_port":             c.address.Port,
		"native_protocol_version": strconv.Itoa(newestVersion),
		"partitioner":             partitioner,
		"rack":                    rack,
		"release_version":         releaseVersion,
		"rpc_address":             c.address.IP,
		"rpc_port":                c.address.Port,
		"schema_version":          c.schemaVersion(),
		"tokens":                  tokens,
	}}
}

func (c *catalog) keyspaceRows() []map[string]any {
	var rows []map[string]any
	for name, replication := range c.keyspaces {
		rows = append(rows, map[string]any{
			"keyspace_name":  name,
			"durable_writes": true,
			"replication":    replication,
		})
	}
	return rows
}

func (c *catalog) tableRows() []map[string]any {
	var rows []map[string]any
	for _, one := range c.tables {
		if one.rows == nil {
			rows = append(rows, map[string]any{
				"keyspace_name":        one.keyspace,
				"table_name":           one.name,
				"comment":              "",
				"default_time_to_live": 0,
				"extensions":           map[string]string{},
				"flags":                []string{"compound"},
				"gc_grace_seconds":     864000,
				"id":                   make([]byte, 16),
			})
		}
	}
	return rows
}

func (c *catalog) columnRows() []map[string]any {
	var rows []map[string]any
	for _, one := range c.tables {
		if one.rows != nil {
			continue
		}
		for _, column := range one.columns {
			kind, position, order := "regular", -1, "none"
			if at := slices.Index(one.partition, column.name); at >= 0 {
				kind, position = "partition_key", at
			} else if at := slices.Index(one.clustering, column.name); at >= 0 {
				kind, position, order = "clustering", at, "asc"
			}
			rows = append(rows, map[string]any{
				"keyspace_name":     one.keyspace,
				"table_name":        one.name,
				"column_name":       column.name,
				"clustering_order":  order,
				"column_name_bytes": []byte(column.name),
				"kind":              kind,
				"position":          position,
				"type":              column.kind.name,
			})
		}
	}
	return rows
}
